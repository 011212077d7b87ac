"""Voice and action units on RAVDESS speech, six classes: do they beat every support vector machine by subject?

mien prepare ravdess ROOT --features egemaps egemaps-clip compare-clip openface-clip --attach openface=clip_means.csv
python experiments/ravdess_units.py --store store --seeds 0 1 2
python experiments/ravdess_units.py --data.features egemaps compare-clip egemaps-clip --model.experts    # voice alone
python experiments/ravdess_units.py --data.normalise speaker --seeds 0 1 2
"""

from mien.experiment import (
    AugmentConfig,
    DataConfig,
    Experiment,
    LossConfig,
    LstmAttentionConfig,
    ProtocolConfig,
    TrainingConfig,
)

EXPERIMENT = Experiment(
    name="ravdess-units",
    question="How far do voice and action units carry on people who were never seen?",
    data=DataConfig(
        corpora=("ravdess",),
        features=("egemaps", "compare-clip", "egemaps-clip", "openface-clip"),
    ),
    protocol=ProtocolConfig(folds=6),
    augment=AugmentConfig(kind="none"),
    loss=LossConfig(kind="cross-entropy"),
    # Chosen by validation UAR over the six folds (docs/lab-log.md).
    model=LstmAttentionConfig(experts=("compare-clip", "openface-clip", "egemaps-clip+openface-clip")),
    training=TrainingConfig(keep="last"),
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(EXPERIMENT)
