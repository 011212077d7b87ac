"""LSTM attention (S1): which pooling, do focal loss and audio augmentation help, and by how much?

python experiments/search_attention_focal.py --store store --parallel 2
"""

import dataclasses

from attention_focal import EXPERIMENT as ATTENTION_FOCAL
from mien.experiment import ExecutionConfig, ProtocolConfig
from mien.experiment.search import Search

SEARCH = Search(
    experiment=dataclasses.replace(
        ATTENTION_FOCAL,
        name="search-attention-focal",
        question="What do attention, focal loss and audio augmentation add on unseen people, each by itself?",
        protocol=ProtocolConfig(folds=3),
        execution=ExecutionConfig(seeds=(0, 1, 2)),
    ),
    space={
        "augment.kind": "none | audio",
        "augment.probability": "0.2 .. 1",
        "augment.audio_noise": "[0.005, 0.02] | [0.05, 0.1] | [0.1, 0.3]",
        "augment.audio_pitch": "[0.95, 1.05] | [0.9, 1.1] | [0.8, 1.2]",
        "augment.audio_tempo": "[0.95, 1.05] | [0.9, 1.1] | [0.8, 1.2]",
        "loss.gamma": "0 .. 4",
        "loss.alpha": "none | balanced",
        "model.pooling": "attention | mean | last",
        "model.lstm_units": "16 | 32 | 64",
        "model.dropout": "0.1 .. 0.6",
        "training.schedule": "constant | cosine | one-cycle",
        "training.learning_rate": "3e-4 .. 1e-2 log",
    },
    questions={
        "model.pooling": "attention | mean | last",
        "loss.kind": "cross-entropy | focal",
        "augment.kind": "none | audio",
    },
    trials=20,
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(SEARCH)
