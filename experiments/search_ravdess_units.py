"""RAVDESS voice and action units: do augmentation and focal loss help on people who were never seen, and by how much?

mien prepare ravdess ROOT --features egemaps openface-clip --attach openface=clip_means.csv
python experiments/search_ravdess_units.py --store store --parallel 2
"""

import dataclasses

from mien.experiment import DataConfig, ExecutionConfig, LstmAttentionConfig, ProtocolConfig
from mien.experiment.search import Search
from ravdess_units import EXPERIMENT as RAVDESS_UNITS
from search_sync_aug import SEARCH as SEARCH_SYNC_AUG

SEARCH = Search(
    experiment=dataclasses.replace(
        RAVDESS_UNITS,
        name="search-ravdess-units",
        question="Do augmentation and focal loss help to read unseen people's voice and action units, and by how much?",
        data=DataConfig(corpora=("ravdess",), features=("egemaps", "openface-clip")),
        protocol=ProtocolConfig(folds=3),
        model=LstmAttentionConfig(),
        execution=ExecutionConfig(seeds=(0, 1, 2)),
    ),
    space=SEARCH_SYNC_AUG.space
    | {
        "augment.stretch": "[0.95, 1.05] | [0.9, 1.1] | [0.8, 1.25]",
        "augment.noise": "[0.001, 0.01] | [0.03, 0.1] | [0.1, 0.3]",
        "loss.kind": "cross-entropy | focal",
        "loss.gamma": "0.5 .. 4",
        "training.epochs": "12 .. 30",
        "model.lstm_units": "32 | 64 | 96",
        "model.dropout": "0.2 .. 0.6",
    },
    questions=SEARCH_SYNC_AUG.questions,
    trials=24,
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(SEARCH)
