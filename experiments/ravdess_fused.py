"""The same voice and action units by several models, fused with equal weights: what do they reach together?

python experiments/ravdess_units.py --store store --storage runs --seeds 0 1 2    # parents: any series of these folds
python experiments/svc_baselines.py --store store --storage runs
python experiments/ravdess_fused.py --store store --storage runs --parents ravdess-units/<signature>/seed-0 \
    ravdess-units/<signature>/seed-1 ravdess-units/<signature>/seed-2 svc-baselines/<signature>

Nothing is learnt from what the parents predict, so they may have trained on their validation clips too, and no weight
is chosen.
"""

import dataclasses

from mien.experiment import AffectEnsembleConfig, LossConfig, TrainingConfig
from ravdess_units import EXPERIMENT as UNITS

EXPERIMENT = dataclasses.replace(
    UNITS,
    name="ravdess-fused",
    question="What do several models of voice and action units reach together on people who were never seen?",
    data=dataclasses.replace(UNITS.data, features=()),
    loss=LossConfig(),
    model=AffectEnsembleConfig(fusion="late", late="equal"),
    training=TrainingConfig(),
    parents=("ravdess-units", "svc-baselines"),
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(EXPERIMENT)
