"""Valence and arousal of people in meetings, by a multimodal transformer (system S2).

mien prepare ami ROOT --ami.ratings RATINGS.csv --features logmel facenet
python experiments/va_transformer.py --store store --seeds 0 1 2
python experiments/va_transformer.py --loss.kind mse                         # S2's own loss; --loss.mse 0.5 mixes both
python experiments/va_transformer.py --data.features logmel                  # the voice alone

By meeting, since headsets hear the neighbours. AMI publishes no ratings: they come from a table of yours.
"""

from mien.experiment import (
    AugmentConfig,
    AvTransformerConfig,
    DataConfig,
    DimensionsConfig,
    Experiment,
    LossConfig,
    ProtocolConfig,
    TrainingConfig,
)

EXPERIMENT = Experiment(
    name="va-transformer",
    question="How well are valence and arousal of people in meetings read from voice and face?",
    data=DataConfig(corpora=("ami",), features=("logmel", "facenet")),
    target=DimensionsConfig(source="annotated"),
    protocol=ProtocolConfig(kind="by-group", group="meeting"),
    augment=AugmentConfig(kind="none"),
    loss=LossConfig(kind="ccc"),
    model=AvTransformerConfig(),
    training=TrainingConfig(schedule="one-cycle", warmup=0.1, learning_rate=3e-4, clip_norm=1.0, patience=5),
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(EXPERIMENT)
