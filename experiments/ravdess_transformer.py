"""The multimodal transformer (system S2) on the same voice and action units as ravdess_units.py, and the same folds.

python experiments/ravdess_transformer.py --store store --seeds 0 1 2
python experiments/ravdess_transformer.py --store store --seeds 0 1 2 --data.normalise speaker
"""

import dataclasses

from mien.experiment import AvTransformerConfig, TrainingConfig
from ravdess_units import EXPERIMENT as UNITS

EXPERIMENT = dataclasses.replace(
    UNITS,
    name="ravdess-transformer",
    question="Does attention between voice and action units carry further on people who were never seen?",
    # Small: a fold has 1,040 clips. Wider, deeper and longer did no better (docs/lab-log.md).
    model=AvTransformerConfig(
        width=64, heads=4, layers=2, feedforward=128, dropout=0.3, step_s=0.3, input_noise=0.2, auxiliary=0.5
    ),
    training=TrainingConfig(keep="last", learning_rate=1e-3, schedule="one-cycle"),
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(EXPERIMENT)
