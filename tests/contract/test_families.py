"""Every family in the registry, held to one contract. TensorFlow and torch run in separate pytest processes."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from conftest import ROOT
from mien.data.batches import Batch
from mien.data.columns import InMemory
from mien.data.dataset import Dataset
from mien.errors import DamagedError, ExperimentError
from mien.experiment import (
    AffectEnsembleConfig,
    AvTransformerConfig,
    LossConfig,
    LstmAttentionConfig,
    MlpConfig,
    Resnet3dLstmConfig,
    SvmConfig,
    TrainingConfig,
)
from mien.families import FAMILIES
from mien.families.contract import ALONE, Group, Learner, NotFiniteError, Task
from mien.families.files import written
from mien.families.frameworks.onnx import OnnxModel, example_batch, in_eight_bits
from mien.features.spec import Frames
from mien.folder import Folder
from mien.results.agreement import ccc
from mien.results.run import Checkpoint, Run
from mien.training.loop import resume
from tiny import batches, film
from tiny import dataset as three_inputs

# Small, and nothing drawn at random.
SMALL: dict[str, Any] = {
    "lstm_attention": LstmAttentionConfig(
        step_s=0.0,
        conv_filters=7,
        lstm_units=11,
        row_units=5,
        dense_units=13,
        dropout=0.0,
        row_dropout=0.0,
        input_noise=0.0,
    ),
    "av_transformer": AvTransformerConfig(
        width=12, heads=3, layers=1, feedforward=17, dropout=0.0, row_dropout=0.0, modality_dropout=0.0
    ),
    "affect_ensemble": AffectEnsembleConfig(units=12, kernel=3, dropout=0.0, modality_dropout=0.0),
    "mlp": MlpConfig(units=13, dropout=0.0),
    "resnet3d_lstm": Resnet3dLstmConfig(blocks=(1, 1), width=4, lstm_units=5, dense_units=13, dropout=0.0),
    "svm": SvmConfig(c=1.0),
}
# Another model, for those that read one input alone.
SMALLER: dict[str, dict[str, Any]] = {"resnet3d_lstm": {"lstm_units": 3}}
# An input of each kind that a family may read.
OF_KIND = {"row": "row", "sequence": "voice", "pictures": "film"}
LOSSES = {"classes": LossConfig(label_smoothing=0.0), "dimensions": LossConfig(kind="ccc")}
MARKS: dict[str, list[Any]] = {"tensorflow": [pytest.mark.tensorflow], "torch": [pytest.mark.torch], "sklearn": []}


@pytest.fixture(autouse=True)
def _traced_graphs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of lstm_attention, for all tests here: to trace one takes 7 s."""
    if module := sys.modules.get("mien.families.lstm_attention"):
        monkeypatch.setattr(module, "N_KINDS", 32)


def each(*, iterative: bool = False) -> Any:
    """A parameter `name` for each family; iterative: those alone that are trained in steps."""
    chosen = [name for name, family in FAMILIES.items() if family.is_iterative or not iterative]
    return pytest.mark.parametrize("name", [pytest.param(n, marks=MARKS[FAMILIES[n].framework]) for n in chosen])


def each_with_targets() -> Any:
    """Parameters `name` and `kind` for each family and each kind of target that it declares."""
    return pytest.mark.parametrize(
        ("name", "kind"),
        [
            pytest.param(name, kind, marks=MARKS[family.framework], id=f"{name}-{kind}")
            for name, family in FAMILIES.items()
            for kind in family.targets
        ],
    )


def task(
    name: str,
    data: Dataset,
    *,
    seed: int = 3,
    loss: LossConfig | None = None,
    class_weights: tuple[float, ...] = (1, 1, 1),
    group: Group = ALONE,
    training: dict[str, Any] | None = None,
    **model: Any,
) -> Task:
    """A small task on these data. training, model: fields that are to be different."""
    spec = data.target.spec
    return Task(
        model=dataclasses.replace(SMALL[name], **model),
        training=TrainingConfig(**{"learning_rate": 0.01, "batch_size": 8, "average": 0.9} | (training or {})),
        loss=loss or LOSSES[spec.kind],
        inputs=data.specs,
        target=spec,
        class_weights=np.array(class_weights if spec.kind == "classes" else (1, 1), np.float32),
        seed=seed,
        group=group,
    )


def build(name: str, data: Dataset, **changes: Any) -> Learner:
    return FAMILIES[name].build(task(name, data, **changes))


def trained(name: str, data: Dataset, *, epochs: int = 3, rate: float = 0.01, **changes: Any) -> Learner:
    learner = build(name, data, **changes)
    for epoch in range(1, epochs + 1):
        learner.train_epoch(batches(data), epoch=epoch, rate=lambda progress: rate)
    return learner


def values(learner: Learner, data: Dataset, batch_size: int = 8) -> np.ndarray:
    return learner.predict(batches(data, batch_size)).values


def weights(learner: Learner, folder: Path) -> dict[str, np.ndarray]:
    """Its exported arrays."""
    folder.mkdir(exist_ok=True)
    learner.export(folder)
    with np.load(folder / "weights.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def distance(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum(np.square(one[name] - other[name]).sum() for name in one)))


def with_frames(data: Dataset, change: Any) -> Dataset:
    """The same clips, with other frames: change(feature, row, frames) returns them, None where there are none."""
    columns = {
        name: InMemory(column.spec, [change(name, row, column[row]) for row in range(len(data))])
        for name, column in data.columns.items()
    }
    return dataclasses.replace(data, columns=columns)


def dataset(name: str, **changes: Any) -> Dataset:
    """Clips that can be told apart, with all inputs that this family reads."""
    data = three_inputs(**changes)
    pictures = film(data, changes.get("seed", 0))
    reads = FAMILIES[name].reads
    columns = {n: c for n, c in data.columns.items() if ("row" if c.spec.hop_s is None else "sequence") in reads}
    return dataclasses.replace(data, columns=columns | ({"film": pictures} if "pictures" in reads else {}))


def only(data: Dataset, features: Iterable[str]) -> Dataset:
    return dataclasses.replace(data, columns={name: data.columns[name] for name in features})


def assert_fits(predicted: np.ndarray, data: Dataset) -> None:
    """Nearly all classes are right; each dimension agrees with its ratings."""
    if data.target.spec.kind == "classes":
        assert (predicted.argmax(axis=1) == data.target.truth).mean() > 0.95
    else:
        for k in range(predicted.shape[1]):
            rated = data.target.mask[:, k]
            assert ccc(data.target.truth[rated, k], predicted[rated, k]) > 0.85


# ------------------------------------------------------------------ registry and flags


def test_every_family_has_a_small_configuration_here():
    assert SMALL.keys() == FAMILIES.keys()
    for name, family in FAMILIES.items():
        assert isinstance(SMALL[name], family.config)
        assert SMALL[name].family == name
        assert family.targets
        assert family.reads


@each()
def test_reads_what_it_declares_without_anything_else(name):
    for kind in FAMILIES[name].reads:
        data = only(dataset(name), [OF_KIND[kind]])
        assert_fits(values(trained(name, data, epochs=12, rate=0.03), data), data)


# ------------------------------------------------------------------ learning and predicting


@each_with_targets()
def test_learns_clips_that_are_separable(name, kind):
    data = dataset(name, kind=kind)
    learner = build(name, data)
    losses = [
        learner.train_epoch(batches(data), epoch=epoch, rate=lambda progress: 0.02)["loss"] for epoch in range(1, 13)
    ]
    if FAMILIES[name].is_iterative:
        assert losses[-1] < 0.3 * losses[0]
    assert_fits(values(learner, data), data)


@each_with_targets()
def test_predicts_each_row_once(name, kind):
    data = dataset(name, kind=kind)
    learner = build(name, data)
    trained = learner.train_epoch(batches(data), epoch=1, rate=lambda progress: 0.01)
    assert trained["n_samples"] == len(data)
    predictions = learner.predict(batches(data, batch_size=16))  # the last batch is filled up
    assert predictions.rows.tolist() == list(range(len(data)))
    assert predictions.values.shape == (len(data), len(data.target.spec.names))
    assert predictions.values.dtype == np.float32
    assert np.isfinite(predictions.values).all()
    if kind == "classes":
        np.testing.assert_allclose(predictions.values.sum(axis=1), 1, rtol=1e-5)
        assert predictions.values.min() >= 0


@each_with_targets()
def test_neither_padding_nor_company_changes_a_prediction(name, kind):
    data = dataset(name, kind=kind)
    learner = trained(name, data)
    # Clips of a single frame among longer ones.
    data = with_frames(data, lambda feature, row, frames: Frames(*(x[: 1 if row % 5 == 0 else None] for x in frames)))
    together, alone = values(learner, data, batch_size=41), values(learner, data, batch_size=1)
    np.testing.assert_allclose(together, alone, atol=2e-6)  # float32 sums over other numbers of zeros


@each()
def test_masked_frames_are_not_seen(name):
    data = dataset(name, missing=False)
    learner = trained(name, data)

    def masked(value: float) -> Dataset:
        def change(feature: str, row: int, frames: Frames) -> Frames:
            changed, valid = frames.values.copy(), frames.valid.copy()
            if feature != "row":
                valid[[1, -1]] = False
                changed[[1, -1]] = value
            return Frames(changed, valid)

        return with_frames(data, change)

    np.testing.assert_array_equal(values(learner, masked(99.0)), values(learner, masked(0.0)))


@each_with_targets()
def test_an_input_may_be_missing(name, kind):
    """Trained on clips that lack one input or another, it predicts clips that all lack the same one."""
    if not FAMILIES[name].can_miss:
        pytest.skip("this family needs each input")
    data = dataset(name, missing=False, kind=kind)
    features = list(data.columns)
    learnt = with_frames(data, lambda feature, row, frames: None if row % 4 == features.index(feature) else frames)
    learner = trained(name, learnt, epochs=14, rate=0.02)
    for lacking in features:
        without = with_frames(data, lambda feature, row, frames, gone=lacking: None if feature == gone else frames)
        assert_fits(values(learner, without), without)


# ------------------------------------------------------------------ training


@each()
def test_a_seed_decides_the_model(name):
    data = dataset(name)
    once, again = (values(trained(name, data, seed=5), data) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    if FAMILIES[name].is_iterative:
        assert not np.allclose(once, values(trained(name, data, seed=7), data), atol=1e-3)


@each()
def test_two_learners_at_a_time_do_not_share_their_weights(name):
    data, other = dataset(name), dataset(name, seed=1)
    first = trained(name, data)
    before = values(first, data)
    trained(name, other, seed=11)
    second = trained(name, other, seed=7)  # may take over what the one before left behind
    np.testing.assert_array_equal(values(first, data), before)
    assert not np.array_equal(values(second, data), before)
    del first, second
    np.testing.assert_array_equal(values(trained(name, data), data), before)


@each(iterative=True)
def test_the_rate_is_that_of_each_step(name, tmp_path: Path):
    """A step at rate 0 changes nothing; the rate of a step is asked for by its place in the epoch."""
    data = dataset(name)
    asked: list[float] = []

    def first_half(progress: float) -> float:
        asked.append(progress)
        return 0.01 if progress < 0.5 else 0.0

    learner, until_half = build(name, data, training={"average": 0.0}), build(name, data, training={"average": 0.0})
    learner.train_epoch(batches(data), epoch=1, rate=first_half)
    assert asked == [batch.progress for batch in batches(data)]
    half = [batch for batch in batches(data) if batch.progress < 0.5]
    assert 0 < len(half) < len(asked)
    until_half.train_epoch(half, epoch=1, rate=lambda progress: 0.01)
    assert distance(weights(learner, tmp_path / "a"), weights(until_half, tmp_path / "b")) == 0
    assert distance(weights(learner, tmp_path / "a"), weights(build(name, data), tmp_path / "c")) > 0


@each(iterative=True)
def test_predicts_with_the_moving_average_of_its_weights(name, tmp_path: Path):
    """Which is that of the weights of a learner without one, after each of the same steps."""
    data = dataset(name)
    live = build(name, data, training={"average": 0.0})
    expected = weights(live, tmp_path / "live")
    for step, batch in enumerate(batches(data), start=1):
        live.train_epoch([batch], epoch=1, rate=lambda progress: 0.03)
        decay = min(0.6, (1 + step) / (10 + step))
        now = weights(live, tmp_path / "live")
        expected = {name: decay * expected[name] + (1 - decay) * now[name] for name in now}
    averaged = build(name, data, training={"average": 0.6})
    averaged.train_epoch(batches(data), epoch=1, rate=lambda progress: 0.03)
    found = weights(averaged, tmp_path / "averaged")
    for array in expected:
        np.testing.assert_allclose(found[array], expected[array], atol=1e-6)
    restored = build(name, data, seed=11)
    restored.restore(tmp_path / "averaged")
    np.testing.assert_array_equal(values(averaged, data), values(restored, data))
    assert np.abs(values(averaged, data) - values(live, data)).max() > 0.01


@each(iterative=True)
def test_a_long_gradient_is_clipped(name, tmp_path: Path):
    """Adam's step does not depend on the gradient's length, until that is small against its epsilon."""
    data = dataset(name)
    start = weights(build(name, data), tmp_path / "start")

    def moved(clip_norm: float) -> float:
        training = {"clip_norm": clip_norm, "weight_decay": 0.0, "average": 0.0}
        return distance(weights(trained(name, data, epochs=1, training=training), tmp_path / "moved"), start)

    assert moved(1e-9) < 0.2 * moved(0.0)
    assert moved(1e6) == moved(0.0)


@each(iterative=True)
def test_dropout_is_another_in_each_epoch_and_worker_and_the_same_again(name):
    """At rate 0 nothing but the dropout can change the loss."""
    data = dataset(name)

    def loss(epoch: int, seed: int = 3, rank: int = 0) -> float:
        learner = build(name, data, dropout=0.4, seed=seed, group=Group(rank=rank))
        return learner.train_epoch(batches(data), epoch=epoch, rate=lambda progress: 0.0)["loss"]

    learner = build(name, data, dropout=0.4)
    one, two, again = (
        learner.train_epoch(batches(data), epoch=epoch, rate=lambda progress: 0.0)["loss"] for epoch in (1, 2, 1)
    )
    assert one == again == loss(1)
    assert two != one
    assert loss(2) == two, "what was drawn in epoch 1 must not decide epoch 2"
    assert loss(1, rank=1) != one
    still = build(name, data)
    losses = {still.train_epoch(batches(data), epoch=epoch, rate=lambda progress: 0.0)["loss"] for epoch in (1, 2)}
    assert len(losses) == 1, "without dropout nothing is drawn"


def drawn(learner: Learner, data: Dataset, dropout: int) -> np.ndarray:
    return learner.predict(batches(data), dropout=dropout).values


@each()
def test_predicts_with_dropout_by_a_seed_and_without_as_ever(name, tmp_path: Path):
    data = dataset(name)
    if not FAMILIES[name].has_dropout:
        with pytest.raises(ExperimentError, match=f"model.family {name} has no dropout"):
            drawn(trained(name, data), data, dropout=1)
        return
    learner, other = (trained(name, data, dropout=0.4) for _ in range(2))
    before, stood = values(learner, data), weights(learner, tmp_path / "before")
    one, again, two = (drawn(learner, data, dropout) for dropout in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_allclose(one.sum(axis=1), 1, rtol=1e-5)
    assert np.abs(one - two).max() > 0.01
    assert np.abs(one - before).max() > 0.01
    np.testing.assert_array_equal(drawn(other, data, 1), one)
    np.testing.assert_array_equal(values(learner, data), before)
    assert distance(weights(learner, tmp_path / "after"), stood) == 0
    for each in (learner, other):  # one of them has drawn once, the other often
        each.train_epoch(batches(data), epoch=4, rate=lambda progress: 0.01)
    np.testing.assert_array_equal(values(learner, data), values(other, data))


# What else is drawn at random or learnt from a batch while a family trains.
RESTLESS: dict[str, dict[str, Any]] = {
    "lstm_attention": {"input_noise": 0.5, "norm": "batch"},
    "av_transformer": {"input_noise": 0.5, "modality_dropout": 0.5},
    "affect_ensemble": {"modality_dropout": 0.5},
}


@each()
def test_nothing_but_dropout_is_drawn_with_it(name, tmp_path: Path):
    """Neither noise nor hidden inputs, and batch normalisation learns nothing."""
    if not FAMILIES[name].has_dropout:
        pytest.skip("this family has no dropout")
    data = dataset(name)
    learner = trained(name, data, **RESTLESS.get(name, {}))
    before, stood = values(learner, data), weights(learner, tmp_path / "before")
    # torch has a faster path for transformers that do not train, which sums in another order.
    np.testing.assert_allclose(drawn(learner, data, 1), before, atol=2e-6)
    assert distance(weights(learner, tmp_path / "after"), stood) == 0


@each()
def test_class_weights_are_used(name):
    """Where the classes cannot be told apart, the heavy one is predicted. (Probabilities that are fitted afterwards, as
    a support vector machine's, are near the classes' shares again.)"""
    if "classes" not in FAMILIES[name].targets:
        pytest.skip("this family learns no classes")
    data, rng = dataset(name), np.random.default_rng(5)
    noise = {
        feature: rng.normal(100, 30, (100, *spec.shape)).astype(np.uint8)
        if feature == "film"
        else rng.normal(size=(100, *spec.shape)).astype(np.float32)
        for feature, spec in data.specs.items()
    }
    data = with_frames(
        data, lambda feature, row, frames: Frames(noise[feature][row : row + len(frames.valid)], frames.valid)
    )
    even, heavy = (
        values(trained(name, data, epochs=4, class_weights=by_class), data).mean(axis=0)
        for by_class in ((1, 1, 1), (0.3, 0.3, 2.4))
    )
    assert np.abs(heavy - even).max() > 0.01
    if FAMILIES[name].is_iterative:
        assert heavy[2] > even[2] + 0.15
        assert heavy[2] == heavy.max()


@each()
def test_a_rating_that_is_missing_teaches_nothing(name):
    if "dimensions" not in FAMILIES[name].targets:
        pytest.skip("this family learns no dimensions")
    data = dataset(name, kind="dimensions")
    assert not data.target.mask.all()
    for loss in (LossConfig(kind="ccc"), LossConfig(kind="mse")):
        wild = np.where(data.target.mask, data.target.values, np.float32(-7))
        other = dataclasses.replace(data, target=dataclasses.replace(data.target, values=wild))
        one, two = (values(trained(name, each, loss=loss), data) for each in (data, other))
        np.testing.assert_array_equal(one, two)


@each()
def test_squared_error_is_learnt_as_well(name):
    data = dataset(name, kind="dimensions")
    learner = trained(name, data, epochs=12, rate=0.03, loss=LossConfig(kind="mse"))
    errors = (values(learner, data) - data.target.values)[data.target.mask]
    assert np.square(errors).mean() < 0.2 * np.square(data.target.values[data.target.mask]).mean()


# ------------------------------------------------------------------ files


@each_with_targets()
def test_a_saved_and_loaded_learner_goes_on_bit_for_bit(name, kind, tmp_path: Path):
    data = dataset(name, kind=kind)
    dropout = {"dropout": 0.3} if FAMILIES[name].is_iterative else {}
    straight = trained(name, data, epochs=4, **dropout)
    halfway = trained(name, data, epochs=2, **dropout)
    halfway.save(tmp_path)
    resumed = build(name, data, **dropout)
    resumed.load(tmp_path)
    if FAMILIES[name].is_iterative:
        assert not np.array_equal(values(resumed, data), values(straight, data))
        for epoch in (3, 4):
            resumed.train_epoch(batches(data), epoch=epoch, rate=lambda progress: 0.01)
    np.testing.assert_array_equal(values(resumed, data), values(straight, data))


@each(iterative=True)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_it_at_its_batch(name, value):
    data = dataset(name)
    learner, asked = build(name, data), []

    def third_is_broken() -> Iterable[Batch]:
        for number, batch in enumerate(batches(data)):
            asked.append(batch)
            yield batch._replace(targets=batch.targets + np.float32(value)) if number == 2 else batch

    with pytest.raises(NotFiniteError) as error:
        learner.train_epoch(third_is_broken(), epoch=1, rate=lambda progress: 0.01)
    assert error.value.batch.rows is asked[2].rows
    assert not np.isfinite(error.value.loss)
    assert len(asked) == 3


@each()
def test_a_torn_checkpoint_is_never_used(name, tmp_path: Path):
    """As the loop saves and resumes: the epoch before it is gone on from, with the very weights of that epoch."""
    data = dataset(name)
    learner, run = build(name, data), Run(Folder(tmp_path), 0, 0)
    history: list[dict[str, Any]] = []
    saved: dict[int, Any] = {}
    for epoch in (1, 2):
        learner.train_epoch(batches(data), epoch=epoch, rate=lambda progress: 0.01)
        rest = {"score": 0.1 * epoch, "score_name": "uar", "validation_loss": 1.0, "train_loss": 1.0, "seconds": 1.0}
        history = [*history, {"epoch": epoch, **rest}]
        run.save_checkpoint(Checkpoint(epoch, written(learner.save), {"history": history}), best_epoch=epoch)
        saved[epoch] = values(learner, data)
    torn = tmp_path / "checkpoints" / "epoch-0002" / "learner.npz"
    content = torn.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    resumed = build(name, data, seed=11)
    assert resume(run, resumed, keep=True) == history, "nothing is torn yet"
    for damaged in (content[:-1], flipped, b"", None):
        torn.unlink()
        if damaged is not None:
            torn.write_bytes(damaged)
        assert resume(run, resumed, keep=True) == history[:1]
        np.testing.assert_array_equal(values(resumed, data), saved[1])


@each_with_targets()
def test_a_restored_export_predicts_the_same(name, kind, tmp_path: Path):
    data = dataset(name, kind=kind)
    learner = trained(name, data)
    learner.export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.npz"]
    restored = build(name, data, seed=11)
    restored.restore(tmp_path)
    np.testing.assert_array_equal(values(restored, data), values(learner, data))


@pytest.mark.slow
@each()
def test_a_restored_export_predicts_the_same_in_another_process(name, tmp_path: Path):
    data = dataset(name)
    learner = trained(name, data)
    learner.export(tmp_path)
    started(f"test_families.predict_restored({name!r}, {str(tmp_path)!r})").finish()
    np.testing.assert_array_equal(np.load(tmp_path / "predicted.npy"), values(learner, data))


def predict_restored(name: str, folder: str) -> None:
    learner = build(name, dataset(name), seed=11)
    learner.restore(Path(folder))
    np.save(Path(folder) / "predicted.npy", values(learner, dataset(name)))


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@each()
def test_nothing_that_is_read_is_executed(name, tmp_path: Path):
    data, marker = dataset(name), tmp_path / "executed"
    pickled = pickle.dumps(Trap(marker))
    pickle.loads(pickled)
    assert marker.exists(), "the trap works"
    marker.unlink()
    learner = trained(name, data, epochs=1)
    before = values(learner, data)
    for write, read, file in (
        (learner.save, learner.load, "learner.npz"),
        (learner.export, learner.restore, "weights.npz"),
    ):
        folder = tmp_path / file.removesuffix(".npz")
        folder.mkdir()
        write(folder)
        with np.load(folder / file) as arrays:
            first = arrays.files[0]
            names = arrays.files
        bad = np.empty(1, object)
        bad[0] = Trap(marker)
        (folder / file).write_bytes(pickled)
        with pytest.raises(DamagedError, match=file):
            read(folder)
        np.savez(folder / file, **{each: bad if each == first else np.zeros(1) for each in names})
        with pytest.raises(DamagedError, match=file):
            read(folder)
    assert not marker.exists()
    np.testing.assert_array_equal(values(learner, data), before)


@each()
def test_arrays_of_another_model_are_refused(name, tmp_path: Path):
    data = dataset(name)
    trained(name, only(data, list(data.columns)[:1]), epochs=1, **SMALLER.get(name, {})).export(tmp_path)
    learner = build(name, data)
    if name == "svm":  # what a machine reads is in its arrays: its members name how many there are
        learner = build(name, data, members=("voice", "row"))
    with pytest.raises(DamagedError, match="weights.npz"):
        learner.restore(tmp_path)


@pytest.mark.slow
@each()
def test_its_graph_predicts_the_same_at_any_length(name):
    """Also with other clips beside a clip, of one frame, and with an input missing."""
    data = dataset(name)
    learner = trained(name, data)
    graph = learner.to_onnx()
    exported = OnnxModel(task(name, data), graph)
    np.testing.assert_allclose(values(exported, data), values(learner, data), atol=1e-5)
    for lengths in ((1,), (40, 3, 1)):
        batch = example_batch(task(name, data), lengths)
        found, expected = (model.predict([batch]).values for model in (exported, learner))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert str(ROOT).encode() not in graph, "it tells nobody where it was made"
    if FAMILIES[name].framework == "sklearn":
        return
    small = in_eight_bits(graph)
    assert np.abs(values(OnnxModel(task(name, data), small), data) - values(exported, data)).max() < 0.15
    if name == "affect_ensemble":  # torch's LSTMs would silently stay floats
        kinds = [node.op_type for node in onnx.load_model_from_string(small).graph.node]
        assert "DynamicQuantizeLSTM" in kinds and "LSTM" not in kinds


# ------------------------------------------------------------------ several workers


@each(iterative=True)
def test_two_workers_learn_what_one_learns(name, tmp_path: Path):
    """1e-5: the sum of a batch's gradients is taken in another order. Real processes, without Ray."""
    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.1", 0)), b.bind(("127.0.0.1", 0))
        ports = [a.getsockname()[1], b.getsockname()[1]]
    workers = [started(f"test_families.work({name!r}, {rank}, {ports}, {str(tmp_path)!r})") for rank in (0, 1)]
    for worker in workers:
        worker.finish()
    for label, one in learnt(name, ALONE).items():
        both = [json.loads((tmp_path / f"{rank}.json").read_text())[label] for rank in (0, 1)]
        assert both[0]["losses"] == both[1]["losses"]
        np.testing.assert_allclose(both[0]["losses"], one["losses"], atol=1e-5)
        np.testing.assert_allclose(np.add(both[0]["values"], both[1]["values"]), one["values"], atol=5e-5)


def learnt(name: str, group: Group) -> dict[str, Any]:
    """By kind of target: the losses of three epochs, and this rank's predictions among zeros."""
    result = {}
    for kind in FAMILIES[name].targets:
        data = dataset(name, kind=kind)
        learner = build(name, data, group=group, training={"learning_rate": 2e-3})
        losses = [
            learner.train_epoch(
                batches(data, rank=group.rank, world=group.world), epoch=epoch, rate=lambda progress: 2e-3
            )["loss"]
            for epoch in (1, 2, 3)
        ]
        own = learner.predict(batches(data, rank=group.rank, world=group.world))
        filled = np.zeros((len(data), own.values.shape[1]))
        filled[own.rows] = own.values
        assert np.array_equal(group.sum(np.full(3, group.rank + 1, np.float32)), [sum(range(group.world + 1))] * 3)
        result[kind] = {"losses": losses, "values": filled.tolist()}
    return result


def work(name: str, rank: int, ports: list[int], folder: str) -> None:
    """What one of two workers does."""
    from mien.families import frameworks

    framework = FAMILIES[name].framework
    if framework == "tensorflow":
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})
    else:
        connect(rank, ports[0])
    group = frameworks.group(framework, rank, 2)
    assert (group.rank, group.world) == (rank, 2)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(learnt(name, group)))


def connect(rank: int, port: int) -> None:
    """As Ray's TorchTrainer does on machines without a GPU."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)


class Started:
    """A Python process that executes a line of this module."""

    def __init__(self, line: str) -> None:
        paths = [str(ROOT / "platform"), str(ROOT / "tests"), str(Path(__file__).parent)]
        code = textwrap.dedent(f"""
            import sys
            sys.path[:0] = {paths!r}
            import test_families
            {line}
            """)
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self) -> None:
        output, _ = self._process.communicate(timeout=300)
        assert self._process.returncode == 0, output[-5000:]


started = Started


def test_batches_carry_what_the_tests_above_rely_on():
    made: list[Batch] = list(batches(three_inputs()))
    assert [round(batch.progress, 3) for batch in made] == [round(i / 6, 3) for i in range(6)]
    assert made[-1].weights.tolist() == [1] + [0] * 7
