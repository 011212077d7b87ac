"""Valence and arousal in meetings by the transformer of S2: which loss, which width, which schedule, and augmentation?

python experiments/search_va_transformer.py --store store --parallel 2
python experiments/search_va_transformer.py --trials 3 --only-folds 0 --training.epochs 3    # a look at it
python experiments/search_va_transformer.py --protocol.kind by-subject --protocol.group ''      # few meetings
"""

import dataclasses

from mien.experiment import ExecutionConfig, LossConfig, ProtocolConfig
from mien.experiment.search import Search
from va_transformer import EXPERIMENT as VA_TRANSFORMER

SEARCH = Search(
    experiment=dataclasses.replace(
        VA_TRANSFORMER,
        name="search-va-transformer",
        question="Which mix of CCC and squared error reads unseen meetings best, and does augmentation help?",
        protocol=ProtocolConfig(kind="by-group", group="meeting", folds=3),
        loss=LossConfig(kind="ccc", mse=0.5),
        execution=ExecutionConfig(seeds=(0, 1, 2)),
    ),
    space={
        "augment.kind": "none | audio | sync | independent",
        "augment.probability": "0.2 .. 1",
        "augment.stretch": "[0.95, 1.05] | [0.9, 1.1] | [0.8, 1.2]",
        "augment.noise": "[0.001, 0.01] | [0.01, 0.1] | [0.1, 0.3]",
        "loss.mse": "0 .. 0.9",
        "model.width": "64 | 128 | 256",
        "model.layers": "1 .. 4",
        "model.dropout": "0 .. 0.5",
        "model.modality_dropout": "0 .. 0.4",
        "training.schedule": "constant | cosine | one-cycle",
        "training.warmup": "0.05 .. 0.3",
        "training.learning_rate": "5e-5 .. 3e-3 log",
    },
    questions={
        "augment.kind": "none | audio | sync | independent",
        "loss.kind": "mse | ccc",
    },
    trials=20,
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(SEARCH)
