"""LSTM attention with focal loss and audio augmentation (system S1): are its claimed gains there on unseen people?

python experiments/attention_focal.py --store store --seeds 0 1 2
python experiments/attention_focal.py --loss.kind cross-entropy    # without focal loss
python experiments/attention_focal.py --augment.kind none          # without augmentation
"""

from mien.experiment import AugmentConfig, DataConfig, Experiment, LossConfig

EXPERIMENT = Experiment(
    name="attention-focal",
    question="What do temporal attention, focal loss and audio augmentation add, each by itself?",
    data=DataConfig(corpora=("ravdess", "cremad"), features=("egemaps", "facenet")),
    augment=AugmentConfig(kind="audio"),
    loss=LossConfig(kind="focal", gamma=2.0),
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(EXPERIMENT)
