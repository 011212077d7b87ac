"""Does augmentation help, in step or not, and does focal loss: a search by Ray Tune, and the answers on unseen people.

python experiments/search_sync_aug.py --store store --parallel 2
python experiments/search_sync_aug.py --trials 10 --only-folds 0     # one fold alone
python experiments/search_sync_aug.py --pruner none --method random  # every trial to its end
"""

import dataclasses

from mien.experiment import ExecutionConfig, ProtocolConfig
from mien.experiment.search import Search
from sync_aug import EXPERIMENT as SYNC_AUG

SEARCH = Search(
    experiment=dataclasses.replace(
        SYNC_AUG,
        name="search-sync-aug",
        question="Do augmentation, in step or not, and focal loss help to read unseen people, and by how much?",
        protocol=ProtocolConfig(folds=3),
        execution=ExecutionConfig(seeds=(0, 1, 2)),
    ),
    space={
        "augment.kind": "none | audio | sync | independent",
        "augment.probability": "0.2 .. 1",
        "augment.factor": "1.5 | 2 | 3",
        "augment.stretch": "[0.95, 1.05] | [0.9, 1.1] | [0.8, 1.2]",
        "augment.noise": "[0.001, 0.01] | [0.01, 0.1] | [0.1, 0.3]",
        "loss.gamma": "0 .. 4",
        "loss.alpha": "none | balanced",
        "training.learning_rate": "3e-4 .. 1e-2 log",
        "training.batch_size": "16 | 32 | 64",
        "model.lstm_units": "16 | 32 | 64",
        "model.dropout": "0.1 .. 0.6",
        "model.input_noise": "0 .. 0.4",
    },
    questions={
        "augment.kind": "none | audio | sync | independent",
        "loss.kind": "cross-entropy | focal",
    },
    trials=20,
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(SEARCH)
