"""What is LstmAttention's own: experts, auxiliary losses, its clock, its convolution, missing inputs, spare graphs."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mien.data.columns import InMemory
from mien.data.dataset import Dataset
from mien.errors import ExperimentError
from mien.experiment import LossConfig, LstmAttentionConfig, TrainingConfig
from mien.families import losses
from mien.families.contract import Task
from mien.features.spec import Frames
from tiny import batches, dataset

pytestmark = pytest.mark.tensorflow

SMALL = LstmAttentionConfig(
    step_s=0.0, lstm_units=5, row_units=3, dense_units=7, dropout=0.0, row_dropout=0.0, input_noise=0.0
)
LOSSES = {"classes": LossConfig(label_smoothing=0.0), "dimensions": LossConfig(kind="ccc")}


def task(data: Dataset, *, seed: int = 3, learning_rate: float = 0.01, **model: Any) -> Task:
    spec = data.target.spec
    return Task(
        model=dataclasses.replace(SMALL, **model),
        training=TrainingConfig(average=0.0, learning_rate=learning_rate),
        loss=LOSSES[spec.kind],
        inputs=data.specs,
        target=spec,
        class_weights=np.ones(len(spec.names), np.float32),
        seed=seed,
    )


def learner(data: Dataset, **changes: Any) -> Any:
    from mien.families.lstm_attention import LstmAttention

    return LstmAttention(task(data, **changes))


def scrambled(built: Any) -> Any:
    """The same learner with all weights drawn at random: as built, biases and offsets are zeros and hide much."""
    rng = np.random.default_rng(7)
    for weight in built._graph.model.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return built


def outputs(built: Any, data: Dataset) -> dict[str, np.ndarray]:
    """Of each head (N, K), as the Keras model computes them."""
    from mien.families.lstm_attention import model_inputs

    [batch] = batches(data, batch_size=len(data))
    return {name: np.array(head) for name, head in built._graph.model(model_inputs(batch), training=False).items()}


def values(built: Any, data: Dataset) -> np.ndarray:
    return built.predict(batches(data)).values


def with_frames(data: Dataset, change: Callable[[str, int, Frames], Frames | None]) -> Dataset:
    columns = {
        name: InMemory(column.spec, [change(name, row, column[row]) for row in range(len(data))])
        for name, column in data.columns.items()
    }
    return dataclasses.replace(data, columns=columns)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponential = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponential / exponential.sum(axis=1, keepdims=True)


def test_classes_are_predicted_by_the_product_of_joint_head_and_experts():
    data = dataset()
    built = scrambled(learner(data, experts=("voice", "row")))
    heads = outputs(built, data)
    assert heads.keys() == {"joint", "voice", "face", "row"}
    product = np.prod([softmax(heads[name]) for name in ("joint", "voice", "row")], axis=0) ** (1 / 3)
    expected = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(values(built, data), expected, atol=2e-6)
    assert np.abs(expected - softmax(heads["joint"])).max() > 0.05


def test_dimensions_are_predicted_by_the_mean_of_joint_head_and_experts():
    data = dataset(kind="dimensions")
    built = scrambled(learner(data, experts=("face",)))
    heads = outputs(built, data)
    np.testing.assert_allclose(values(built, data), (heads["joint"] + heads["face"]) / 2, atol=2e-6)
    assert np.abs(heads["joint"] - heads["face"]).max() > 0.05


def test_an_expert_that_is_no_input_is_named():
    with pytest.raises(ExperimentError, match="model.experts names odd: there are face, joint, row, voice"):
        learner(dataset(), experts=("odd",))


@pytest.mark.parametrize("kind", ["classes", "dimensions"])
def test_the_loss_counts_each_input_by_itself_as_well(kind):
    """At rate 0, in one batch: the loss of the joint head, and that of each other, by numpy."""
    data = dataset(kind=kind)
    built = scrambled(learner(data, auxiliary=0.3))

    def one(head: np.ndarray) -> float:
        if kind == "classes":
            return float(losses.focal_loss(data.target.values, softmax(head), gamma=2.0).mean())
        return losses.concordance_loss(losses.concordance_moments(data.target.values, head, data.target.mask))

    heads = outputs(built, data)
    expected = one(heads["joint"]) + 0.3 * sum(one(heads[name]) for name in ("voice", "face", "row"))
    found = built.train_epoch(batches(data, batch_size=len(data)), epoch=1, rate=lambda progress: 0.0)["loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_sequences_are_read_on_one_clock():
    """At 0.2 s each second frame of a voice of 0.1 s is read, and each frame of a face of 0.2 s."""
    data = dataset(missing=False)
    built = scrambled(learner(data, step_s=0.2))
    before = values(built, data)

    def changed(feature: str, frames: slice) -> float:
        def change(name: str, row: int, one: Frames) -> Frames:
            new = one.values.copy()
            if name == feature:
                new[frames] += 3.0
            return Frames(new, one.valid)

        return float(np.abs(values(built, with_frames(data, change)) - before).max())

    assert changed("voice", slice(1, None, 2)) == 0
    assert changed("voice", slice(0, None, 2)) > 0.01
    assert changed("face", slice(1, None, 2)) > 0.01


@pytest.mark.parametrize(("conv", "widths"), [(("audio",), {7}), (("video",), {5}), (("audio", "video"), {5, 7})])
def test_sequences_of_the_chosen_modalities_are_convolved(conv, widths):
    """A voice has 7 columns, a face 5."""
    import keras

    from mien.families.lstm_attention import build_model

    model = build_model(task(dataset(), conv_filters=11, conv=conv))
    kernels = [layer.kernel.shape for layer in model.layers if isinstance(layer, keras.layers.Conv1D)]
    assert {(3, width, 11) for width in widths} == set(kernels)
    assert len(kernels) == len(widths)


@pytest.mark.parametrize("pooling", ["max", "last"])  # each is a graph to trace; the others below, by their layers
def test_no_pooling_reads_what_fills_a_batch(pooling):
    """A clip by itself is predicted as among longer ones, and each frame of it counts where the pooling says so."""
    data = dataset(missing=False)
    built = scrambled(learner(data, pooling=pooling))
    together = built.predict(batches(data, batch_size=len(data))).values
    np.testing.assert_allclose(built.predict(batches(data, batch_size=1)).values, together, atol=2e-6)

    def in_the_middle(name: str, row: int, one: Frames) -> Frames:
        new = one.values.copy()
        new[len(new) // 2] += 3.0 if name == "voice" else 0.0
        return Frames(new, one.valid)

    assert np.abs(built.predict(batches(with_frames(data, in_the_middle))).values - together).max() > 0.001


def test_poolings_are_what_numpy_makes_of_the_valid_frames():
    from mien.families.lstm_attention_layers import Attention, MaskedMax, MaskedMean

    rng = np.random.default_rng(0)
    x = (
        rng.normal(size=(4, 6, 3)).astype(np.float32) - 2.0
    )  # below 0, so that a zero of the padding would be the largest
    mask = np.array([[1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
    one, small = Attention(0), Attention(4)
    found = {layer: np.array(layer([x, mask])) for layer in (MaskedMean(), MaskedMax(), one, small)}
    mean, largest, by_one, by_small = found.values()
    for layer in (one, small):
        for weight in layer.weights:
            weight.assign(rng.normal(size=weight.shape))
    by_one, by_small = np.array(one([x, mask])), np.array(small([x, mask]))
    (kernel, bias), (hidden, offset, score) = ([np.array(weight) for weight in layer.weights] for layer in (one, small))
    assert (kernel.shape, hidden.shape, score.shape) == ((3, 1), (3, 4), (4, 1))
    for row, valid in enumerate(mask[:3]):
        frames = x[row][valid]
        np.testing.assert_allclose(mean[row], frames.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(largest[row], frames.max(axis=0), rtol=1e-5)
        for by, scores in (
            (by_one, np.tanh(frames @ kernel + bias)),
            (by_small, np.tanh(frames @ hidden + offset) @ score),
        ):
            np.testing.assert_allclose(by[row], (softmax(scores.T) @ frames)[0], rtol=1e-4)
    assert not mean[3].any()
    assert not largest[3].any()


def test_a_missing_input_contributes_a_zero_vector():
    import keras

    from mien.families.lstm_attention import model_inputs
    from mien.families.lstm_attention_layers import Present

    data = dataset()
    model = scrambled(learner(data))._graph.model
    # By the name of the mask that it is multiplied with: Keras sorts layers by depth.
    vectors = {layer.input[1].name: layer.output for layer in model.layers if isinstance(layer, Present)}
    assert vectors.keys() == {"voice_mask", "face_mask", "row_mask"}
    lacks_face = data.columns["face"].lengths == 0
    assert 0 < lacks_face.sum() < len(data)
    [batch] = batches(data, batch_size=len(data))
    found = keras.Model(model.inputs, vectors)(model_inputs(batch))
    voice, face, row = (np.array(found[f"{name}_mask"]) for name in ("voice", "face", "row"))
    assert (face[lacks_face] == 0).all()
    assert np.abs(face[~lacks_face]).max(axis=1).min() > 0
    for vector in (voice, row):
        assert np.abs(vector).max() > 0
    # and it is these vectors that are joined, so that what face frames hold no longer matters:
    joined = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense) and layer.units == 7)
    assert joined.kernel.shape[0] == voice.shape[1] + face.shape[1] + row.shape[1]


def test_a_graph_goes_to_the_next_learner_of_its_kind_and_to_no_other():

    data = dataset()
    first, second = learner(data), learner(data)
    assert first._graph is not second._graph
    traced = first._graph
    del first
    gc.collect()
    third = learner(data, seed=11, learning_rate=0.5)
    assert third._graph is traced
    other = learner(data, dense_units=11)
    assert other._graph is not traced
    swapped = dataclasses.replace(data, columns=dict(reversed(data.columns.items())))
    assert learner(swapped)._graph is not traced, "its layers would stand in another order"
    del third
    gc.collect()
    assert learner(data)._graph is traced, "a variant in between does not cost the trace"


def test_graphs_of_many_kinds_are_not_kept(monkeypatch):
    from mien.families import lstm_attention

    spare = lstm_attention._SpareGraphs()
    monkeypatch.setattr(lstm_attention, "_spare", spare)
    monkeypatch.setattr(lstm_attention, "N_KINDS", 2)
    data = dataset()
    oldest = learner(data, dense_units=11)
    for units in (12, 13):
        learner(data, dense_units=units)
    gc.collect()
    graph = oldest._graph
    del oldest
    gc.collect()
    kept = [graphs for _, graphs in spare._graphs]
    assert len(kept) == 2 and graph not in [*kept[0], *kept[1]], "of a kind that is forgotten none is taken back"
