"""What a person felt at a film, from EEG, body and face, fused in the middle (system S3), on MAHNOB-HCI.

mien prepare mahnob ROOT --features eeg-bands physio physio-raw facenet
python experiments/affect_ensemble.py --store store --seeds 0 1 2
python experiments/affect_ensemble.py --model.fusion early                       # all signals side by side
python experiments/affect_ensemble.py --data.features eeg-bands                  # one sensor alone
python experiments/affect_fusion.py --store store                  # each alone, late, early, hybrid: compared
"""

from mien.experiment import (
    AffectEnsembleConfig,
    AugmentConfig,
    DataConfig,
    DimensionsConfig,
    Experiment,
    LossConfig,
    TrainingConfig,
)

EXPERIMENT = Experiment(
    name="affect-ensemble",
    question="How well is what a person felt read from EEG, body and face together?",
    data=DataConfig(
        corpora=("mahnob",), features=("eeg-bands", "physio", "physio-raw", "facenet"), normalise="speaker"
    ),
    target=DimensionsConfig(source="self-report"),
    augment=AugmentConfig(kind="none"),
    loss=LossConfig(kind="ccc"),
    model=AffectEnsembleConfig(),
    training=TrainingConfig(epochs=40, patience=15, batch_size=16, learning_rate=2e-3),
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(EXPERIMENT)
