"""torch on a GPU: the same numbers twice, after a stop, and near to the CPU's; and how many clips a second. Needs no Ray.

`pytest -m bench -s tests/benchmarks/test_gpu.py` on a machine that has one; it prints what it measured.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from pathlib import Path

import numpy as np
import pytest

from mien.data.columns import InMemory
from mien.data.dataset import Dataset
from mien.experiment import (
    AffectEnsembleConfig,
    AugmentConfig,
    AvTransformerConfig,
    DataConfig,
    Experiment,
    LossConfig,
    MlpConfig,
    ModelConfig,
    Resnet3dLstmConfig,
    TrainingConfig,
)
from mien.families import FAMILIES
from mien.families.contract import Task
from mien.features.spec import FeatureSpec, Frames
from mien.folder import Folder
from mien.results.run import Run
from mien.training.loop import train_run
from mien.training.place import HERE, Place
from tiny import batches, dataset, film

pytestmark = [pytest.mark.bench, pytest.mark.torch, pytest.mark.slow]

MODELS: dict[str, tuple[ModelConfig, ...]] = {
    "mlp": (MlpConfig(), MlpConfig(units=1024, layers=4)),
    "av_transformer": (AvTransformerConfig(width=64, heads=4, layers=2, feedforward=128), AvTransformerConfig()),
    "affect_ensemble": (AffectEnsembleConfig(), AffectEnsembleConfig(units=256)),
}
each_family = pytest.mark.parametrize("family", sorted(MODELS))
EPOCHS = 6
# Largest rates of dense products by NVIDIA's data sheets, in FLOP/s: of TensorFloat-32, which is what cuDNN computes
# convolutions of float32 in, and of bfloat16.
PEAKS = {"H100": (495e12, 989e12), "H200": (495e12, 989e12)}


@pytest.fixture(scope="module")
def gpu() -> Place:
    """This process's GPU, as a worker of a group finds it."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    from mien.families.frameworks.torch import group

    place = Place(group(0, 1))
    assert place.group.device == "cuda"
    return place


def experiment(model: ModelConfig, features: tuple[str, ...], batch_size: int) -> Experiment:
    return Experiment(
        name="gpu",
        data=DataConfig(features=features),
        augment=AugmentConfig(kind="none"),
        model=model,
        training=TrainingConfig(epochs=EPOCHS, patience=EPOCHS, batch_size=batch_size),
    )


def trained(folder: Path, wanted: Experiment, data: Dataset, place: Place, stop_after: int | None = None) -> Run:
    run = Run(Folder(folder), seed=0, fold=0)

    def report(record: dict) -> None:
        if record["epoch"] == stop_after:
            raise KeyboardInterrupt

    try:
        train_run(run, wanted, data, data.splits(wanted.protocol)[0], place=place, report=report)
    except KeyboardInterrupt:
        assert stop_after is not None
    return run


def losses(run: Run) -> list[list[float]]:
    return [[record["train_loss"], record["validation_loss"]] for record in run.history()]


@each_family
def test_a_gpu_learns_the_same_twice_after_a_stop_and_nearly_what_a_cpu_learns(family, tmp_path, gpu, capsys):
    data, model = dataset(), dataclasses.replace(MODELS[family][0], dropout=0.0)
    # What is drawn within a model comes from another generator on each device.
    drawn = {"modality_dropout", "row_dropout"} & {field.name for field in dataclasses.fields(model)}
    model = dataclasses.replace(model, **dict.fromkeys(drawn, 0.0))
    wanted = experiment(model, ("voice", "row", "face"), batch_size=8)
    once, again = (trained(tmp_path / name, wanted, data, gpu) for name in ("once", "again"))
    trained(tmp_path / "stopped", wanted, data, gpu, stop_after=3)
    resumed = trained(tmp_path / "stopped", wanted, data, gpu)
    for other in (again, resumed):
        assert losses(other) == losses(once)
        assert other.predictions().equals(once.predictions())
    cpu = trained(tmp_path / "cpu", wanted, data, HERE)
    difference = np.abs(np.subtract(losses(once), losses(cpu))).max()
    with capsys.disabled():
        print(f"\n{family}: losses of the GPU and of the CPU differ by {difference:.1e} at most")
    assert difference < 1e-3  # convolutions in TensorFloat-32


@each_family
def test_clips_a_second(family, tmp_path, gpu, capsys):
    """On clips of the shape of RAVDESS: 35 windows of 88 functionals and a row of 35 numbers, in memory."""
    import torch

    data = ravdess_like()
    for i, model in enumerate(MODELS[family]):
        for batch_size in (32, 256):
            wanted = experiment(model, ("voice", "row"), batch_size)
            rates = {}
            for place in (HERE, gpu):
                run = trained(tmp_path / f"{i}-{batch_size}-{place.group.device}", wanted, data, place)
                rates[place.group.device] = statistics.median(r["samples_per_s"] for r in run.history()[1:])
            with capsys.disabled():
                print(
                    f"\n{family} {model}, batches of {batch_size}: {rates['cpu']:.0f} clips/s by one thread of the CPU, "
                    f"{rates['cuda']:.0f} on {torch.cuda.get_device_name()}: {rates['cuda'] / rates['cpu']:.2f}"
                )


def test_a_gpu_learns_pictures_the_same_twice_and_nearly_what_a_cpu_learns(tmp_path, gpu, capsys):
    data = dataset(missing=False)
    data = dataclasses.replace(data, columns={"film": film(data)})
    model = Resnet3dLstmConfig(blocks=(1, 1), width=8, lstm_units=8, dense_units=8, dropout=0.0)
    wanted = experiment(model, ("film",), batch_size=8)
    once, again = (trained(tmp_path / name, wanted, data, gpu) for name in ("once", "again"))
    assert losses(again) == losses(once)
    difference = np.abs(np.subtract(losses(once), losses(trained(tmp_path / "cpu", wanted, data, HERE)))).max()
    with capsys.disabled():
        print(f"\nresnet3d_lstm: losses of the GPU and of the CPU differ by {difference:.1e} at most")
    assert difference < 1e-3


@pytest.mark.parametrize("batch_size", [8, 32])
@pytest.mark.parametrize(("precision", "compiled"), [("float32", False), ("mixed", False), ("mixed", True)])
def test_clips_of_pictures_a_second(batch_size, precision, compiled, gpu, capsys):
    """System S4: 48 pictures of 112 x 112, decoded; whole steps, of which the first five are not counted."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    spec = FeatureSpec(name="film", version=1, modality="video", shape=(112, 112, 3), codec="jpeg", hop_s=0.04)
    rng = np.random.default_rng(0)
    data = dataset(batch_size, missing=False)
    frames = [Frames(rng.integers(0, 255, (48, *spec.shape), np.uint8), np.ones(48, bool)) for _ in range(batch_size)]
    data = dataclasses.replace(data, columns={"film": InMemory(spec, frames)})
    model = Resnet3dLstmConfig(precision=precision, compiled=compiled)
    target, weights = data.target.spec, np.ones(3, np.float32)
    task = Task(model, TrainingConfig(), LossConfig(), {"film": spec}, target, weights, 0, gpu.group)
    learner = FAMILIES["resnet3d_lstm"].build(task)
    (batch,) = batches(data, batch_size)

    def steps(n: int) -> float:
        torch.cuda.synchronize()
        start_s = time.perf_counter()
        learner.train_epoch([batch] * n, epoch=1, rate=lambda progress: 1e-4)
        torch.cuda.synchronize()
        return time.perf_counter() - start_s

    n_flop = 0
    if not compiled:
        with FlopCounterMode(display=False) as counter:
            steps(1)
        n_flop = counter.get_total_flops()
    steps(5)
    torch.cuda.reset_peak_memory_stats()
    n_steps = 20
    seconds = steps(n_steps)
    name = torch.cuda.get_device_name()
    peaks = next((peak for card, peak in PEAKS.items() if card in name), None)
    share = f", {n_flop * n_steps / seconds / peaks[precision == 'mixed']:.1%} of its peak" if peaks and n_flop else ""
    with capsys.disabled():
        print(
            f"\nresnet3d_lstm, {precision}{', compiled' if compiled else ''}, batches of {batch_size}: "
            f"{batch_size * n_steps / seconds:.1f} clips/s on {name}{share}, "
            f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        )


def ravdess_like(n_clips: int = 1440, n_windows: int = 35) -> Dataset:
    rng = np.random.default_rng(0)
    data = dataset(n_clips)
    specs = {
        "voice": FeatureSpec(
            name="voice", version=1, modality="audio", shape=(88,), hop_s=0.1, columns=tuple(f"v{i}" for i in range(88))
        ),
        "row": FeatureSpec(
            name="row", version=1, modality="video", shape=(35,), hop_s=None, columns=tuple(f"r{i}" for i in range(35))
        ),
    }
    n_frames = {"voice": n_windows, "row": 1}
    columns = {
        name: InMemory(
            spec,
            [
                Frames(rng.normal(size=(n_frames[name], spec.dim)).astype(np.float32), np.ones(n_frames[name], bool))
                for _ in range(n_clips)
            ],
        )
        for name, spec in specs.items()
    }
    return dataclasses.replace(data, columns=columns)
