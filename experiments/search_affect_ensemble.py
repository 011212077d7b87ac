"""What a person felt from EEG, body and face (S3): which fusion, which loss, which width, and does augmentation help?

python experiments/search_affect_ensemble.py --store store --parallel 2
python experiments/search_affect_ensemble.py --trials 3 --only-folds 0 --training.epochs 3    # a look at it

Early and hybrid fusion; the late ones build on runs of the sensors alone: affect_fusion.py.
"""

import dataclasses

from affect_ensemble import EXPERIMENT as AFFECT_ENSEMBLE
from mien.experiment import AugmentConfig, ExecutionConfig, LossConfig, ProtocolConfig
from mien.experiment.search import Search

SEARCH = Search(
    experiment=dataclasses.replace(
        AFFECT_ENSEMBLE,
        name="search-affect-ensemble",
        question="Are the sensors better fused early or in the middle, by which loss, and does augmentation help?",
        protocol=ProtocolConfig(folds=3),
        augment=AugmentConfig(kind="none", reference="eeg"),
        loss=LossConfig(kind="ccc", mse=0.5),
        execution=ExecutionConfig(seeds=(0, 1, 2)),
    ),
    space={
        "augment.kind": "none | sync | independent",
        "augment.probability": "0.2 .. 1",
        "augment.stretch": "[0.95, 1.05] | [0.9, 1.1] | [0.8, 1.2]",
        "augment.noise": "[0.001, 0.01] | [0.01, 0.1] | [0.1, 0.3]",
        "loss.mse": "0 .. 0.9",
        "model.fusion": "early | hybrid",
        "model.units": "32 | 64 | 128",
        "model.dropout": "0.1 .. 0.6",
        "model.modality_dropout": "0 .. 0.5",
        "training.schedule": "constant | cosine | one-cycle",
        "training.learning_rate": "3e-4 .. 1e-2 log",
        "training.batch_size": "8 | 16 | 32",
    },
    questions={
        "model.fusion": "early | hybrid",
        "augment.kind": "none | sync | independent",
        "loss.kind": "mse | ccc",
    },
    trials=20,
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(SEARCH)
