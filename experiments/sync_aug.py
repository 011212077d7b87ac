"""Synchronised augmentation of voice and face (system S0): does stretching and disturbing both together help?

python experiments/sync_aug.py --store store --seeds 0 1 2
python experiments/sync_aug.py --augment.kind independent      # its control
python experiments/sync_aug.py --protocol.kind random-leaky    # what a leaky split would have promised
"""

from mien.experiment import AugmentConfig, DataConfig, Experiment, LossConfig

EXPERIMENT = Experiment(
    name="sync-aug",
    question="Does augmenting voice and face together, so that they stay in step, help to read unseen people?",
    data=DataConfig(corpora=("ravdess", "cremad"), features=("egemaps", "facenet")),
    augment=AugmentConfig(kind="sync"),
    loss=LossConfig(kind="focal"),
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(EXPERIMENT)
