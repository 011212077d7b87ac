"""Emotion from pictures of the face alone (S4): does augmentation of the pictures help, and focal loss?

python experiments/search_video_full.py --store store --gpu --model.precision mixed
python experiments/search_video_full.py --trials 3 --only-folds 0 --training.epochs 2 --data.pictures 8 \
    --model.blocks 1 1 --model.width 8                                          # a look at it, without a GPU

At its size a trial is hours of a GPU: few of them, and those that learn slowly are stopped early.
"""

import dataclasses

from mien.experiment import ExecutionConfig, ProtocolConfig
from mien.experiment.search import Search
from video_full import EXPERIMENT as VIDEO_FULL

SEARCH = Search(
    experiment=dataclasses.replace(
        VIDEO_FULL,
        name="search-video-full",
        question="Do pictures that are mirrored, brighter or darker help to read unseen faces, and does focal loss?",
        protocol=ProtocolConfig(folds=3),
        execution=ExecutionConfig(seeds=(0,)),
    ),
    space={
        "augment.kind": "none | pixels",
        "augment.brightness": "[0.9, 1.1] | [0.8, 1.2] | [0.6, 1.4]",
        "augment.contrast": "[0.9, 1.1] | [0.8, 1.2] | [0.6, 1.4]",
        "loss.kind": "cross-entropy | focal",
        "loss.gamma": "0.5 .. 4",
        "model.width": "32 | 64",
        "model.lstm_units": "64 | 128 | 256",
        "model.dropout": "0.2 .. 0.6",
        "training.schedule": "constant | cosine | one-cycle",
        "training.learning_rate": "3e-5 .. 1e-3 log",
    },
    questions={
        "augment.kind": "none | pixels",
        "loss.kind": "cross-entropy | focal",
    },
    trials=8,
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(SEARCH)
