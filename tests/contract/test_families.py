"""Every family in the registry, held to one contract. TensorFlow and torch run in separate pytest processes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mien.data.batches import make_batches, plain_order
from mien.data.dataset import Dataset
from mien.experiment import (
    AugmentConfig,
    Experiment,
    LossConfig,
    LstmAttentionConfig,
    SvcConfig,
    TrainingConfig,
)
from mien.families import FAMILIES, Task
from tiny import dataset

SMALL = {
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
    "svc": SvcConfig(c=1.0),
}
MARKS = {"tensorflow": [pytest.mark.tensorflow], "torch": [pytest.mark.torch], "sklearn": []}
FAMILY_NAMES = [pytest.param(name, marks=MARKS[family.framework]) for name, family in FAMILIES.items()]


def test_every_family_has_a_small_configuration_here():
    assert SMALL.keys() == FAMILIES.keys()
    assert all(isinstance(SMALL[name], family.config) for name, family in FAMILIES.items())


def task(name: str, data: Dataset, seed: int = 3) -> Task:
    experiment = Experiment(
        name="contract",
        data=dataclasses.replace(Experiment(name="x").data, audio=("voice", "row"), video=("face",)),
        augment=AugmentConfig(kind="none"),
        loss=LossConfig(label_smoothing=0.0),
        model=SMALL[name],
        training=TrainingConfig(learning_rate=0.01, batch_size=8, average=0.9),
    )
    return Task(experiment, data.specs, data.classes, np.ones(3, np.float32), seed)


def batches(data: Dataset, batch_size: int = 8):
    dims = {name: spec.dim for name, spec in data.specs.items()}
    order = plain_order(range(len(data)), batch_size)
    return make_batches(
        order,
        lambda e: {name: frames[e.row] for name, frames in data.frames.items()},
        data.targets,
        dims,
        batch_size=batch_size,
    )


def trained(name: str, data: Dataset, epochs: int = 3, seed: int = 3):
    learner = FAMILIES[name].build(task(name, data, seed))
    for epoch in range(1, epochs + 1):
        learner.train_epoch(batches(data), epoch=epoch, learning_rate=0.01)
    return learner


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_learns_clips_that_are_separable(name):
    data = dataset()
    learner = FAMILIES[name].build(task(name, data))
    losses = [learner.train_epoch(batches(data), epoch=epoch, learning_rate=0.01)["loss"] for epoch in range(1, 11)]
    if FAMILIES[name].iterative:
        assert losses[-1] < 0.3 * losses[0]
    predictions = learner.predict(batches(data))
    assert (predictions.probabilities.argmax(axis=1) == data.truth[predictions.rows]).mean() > 0.95


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_predicts_each_row_once_with_probabilities(name):
    data = dataset()
    predictions = trained(name, data).predict(batches(data, batch_size=16))
    assert predictions.rows.tolist() == list(range(len(data)))
    assert predictions.probabilities.shape == (len(data), 3)
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_neither_padding_nor_company_changes_a_prediction(name):
    data = dataset()
    learner = trained(name, data)
    together = learner.predict(batches(data, batch_size=41)).probabilities
    alone = learner.predict(batches(data, batch_size=1)).probabilities
    np.testing.assert_allclose(together, alone, atol=2e-6)  # float32 sums over other numbers of zeros


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_masked_frames_are_not_seen(name):
    data = dataset(missing=False)
    learner = trained(name, data)
    for frames in data.frames["voice"]:
        frames.valid[-2:] = False
    before = learner.predict(batches(data)).probabilities
    for frames in data.frames["voice"]:
        frames.values[-2:] = 99.0
    np.testing.assert_array_equal(learner.predict(batches(data)).probabilities, before)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_saved_and_loaded_learner_goes_on_bit_for_bit(name, tmp_path: Path):
    data = dataset()
    straight = trained(name, data, epochs=4)
    halfway = trained(name, data, epochs=2)
    halfway.save(tmp_path)
    resumed = FAMILIES[name].build(task(name, data, seed=3))
    resumed.load(tmp_path)
    if FAMILIES[name].iterative:
        for epoch in (3, 4):
            resumed.train_epoch(batches(data), epoch=epoch, learning_rate=0.01)
    np.testing.assert_array_equal(
        resumed.predict(batches(data)).probabilities, straight.predict(batches(data)).probabilities
    )


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_seed_decides_the_model(name):
    data = dataset()
    once, again = (trained(name, data, seed=5).predict(batches(data)).probabilities for _ in range(2))
    np.testing.assert_array_equal(once, again)
    if FAMILIES[name].iterative:
        other = trained(name, data, seed=7).predict(batches(data)).probabilities
        assert not np.allclose(once, other, atol=1e-3)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_exports_its_model(name, tmp_path: Path):
    trained(name, dataset()).export(tmp_path)
    assert [path.stem for path in tmp_path.iterdir()] == ["model_best"]


@pytest.mark.tensorflow
@pytest.mark.parametrize("loss", [LossConfig(label_smoothing=0.0), LossConfig(kind="cross-entropy")])
def test_the_keras_loss_is_the_numpy_reference(loss):
    from mien.families import losses
    from mien.families.lstm_attention import LstmAttention

    data = dataset()
    base = task("lstm_attention", data)
    weights = np.array([0.5, 1.0, 1.5], np.float32)
    learner = LstmAttention(
        dataclasses.replace(base, experiment=dataclasses.replace(base.experiment, loss=loss), class_weights=weights)
    )
    rng = np.random.default_rng(11)
    logits = rng.normal(size=(13, 3)).astype(np.float32) * 4
    targets = rng.dirichlet(np.ones(3), 13).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = losses.focal_loss(
        losses.smooth_labels(targets, loss.label_smoothing),
        probabilities,
        gamma=loss.gamma if loss.kind == "focal" else 0.0,
        alpha=weights,
    )
    np.testing.assert_allclose(learner._graph.loss(targets, logits), expected, rtol=1e-5)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_two_learners_at_a_time_do_not_share_their_weights(name):
    data, other = dataset(), dataset(seed=1)
    first = trained(name, data)
    before = first.predict(batches(data)).probabilities
    trained(name, other, seed=11)
    second = trained(name, other, seed=7)  # may take over what the one before left behind
    np.testing.assert_array_equal(first.predict(batches(data)).probabilities, before)
    assert not np.array_equal(second.predict(batches(data)).probabilities, before)
    del first, second
    np.testing.assert_array_equal(trained(name, data).predict(batches(data)).probabilities, before)
