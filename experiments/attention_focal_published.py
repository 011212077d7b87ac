"""System S1 as its authors have it: what does their model reach on unseen people, and what does each part of it add?

python experiments/attention_focal_published.py --store store --seeds 0 1 2
python experiments/attention_focal_published.py --model.pooling mean           # without attention
python experiments/attention_focal_published.py --loss.kind cross-entropy      # without focal loss
python experiments/attention_focal_published.py --augment.kind none            # without augmentation

docs/explanation/attention-focal.md says what differs from attention_focal.py, and why.
"""

import dataclasses

from attention_focal import EXPERIMENT as OURS
from mien.experiment import LossConfig, LstmAttentionConfig, TrainingConfig

EXPERIMENT = dataclasses.replace(
    OURS,
    name="attention-focal-published",
    question="What does system S1 reach as it was published, and what does each part of it add?",
    loss=LossConfig(kind="focal", gamma=2.0, alpha="none", label_smoothing=0.0),
    model=LstmAttentionConfig(
        step_s=0.0,
        conv_filters=64,
        conv=("audio",),
        pooling="tanh-attention",
        auxiliary=0.0,
        input_noise=0.0,
        norm="batch",
    ),
    training=TrainingConfig(schedule="constant", learning_rate=1e-3, weight_decay=0.0, clip_norm=0.0, average=0.0),
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(EXPERIMENT)
