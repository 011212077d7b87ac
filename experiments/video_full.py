"""Emotion from pictures of the face alone, by a 3D ResNet and an LSTM (system S4), on RAVDESS and CREMA-D.

mien prepare ravdess ROOT --features frames
mien prepare cremad ROOT --features frames
python experiments/video_full.py --store store --gpu --model.precision mixed
python experiments/video_full.py --model.weights r3d_18.pth --model.norm frozen    # Kinetics-400 weights from a file
python experiments/video_full.py --protocol.kind leave-one-corpus-out              # learn one corpus, test the other

At this size it is work for a GPU: a step of 8 clips takes a core more than a minute.
"""

from mien.experiment import (
    AugmentConfig,
    DataConfig,
    Experiment,
    LossConfig,
    Resnet3dLstmConfig,
    TrainingConfig,
)

EXPERIMENT = Experiment(
    name="video-full",
    question="How far do pictures of the face alone carry on people who were never seen?",
    data=DataConfig(corpora=("ravdess", "cremad"), features=("frames",), pictures=48, missing="drop"),
    augment=AugmentConfig(kind="pixels"),
    loss=LossConfig(kind="cross-entropy"),
    model=Resnet3dLstmConfig(),
    training=TrainingConfig(epochs=30, batch_size=8, learning_rate=1e-4, schedule="cosine", patience=30),
)

if __name__ == "__main__":
    from mien.cli.main import run

    run(EXPERIMENT)
