"""What is the torch families' own, against formulas and published networks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mien.data.columns import InMemory
from mien.data.dataset import Dataset
from mien.errors import ExperimentError, MienError
from mien.experiment import (
    AffectEnsembleConfig,
    AvTransformerConfig,
    LossConfig,
    ModelConfig,
    Resnet3dLstmConfig,
    TrainingConfig,
)
from mien.families import FAMILIES, reading
from mien.families.contract import Learner, Task
from mien.families.frameworks.onnx import example_batch
from mien.families.steps import steps_of
from mien.features.spec import FeatureSpec, Frames
from tiny import FILM, batches, dataset, film

pytestmark = pytest.mark.torch
SMALL = AvTransformerConfig(width=8, heads=2, layers=1, feedforward=8, dropout=0.0, modality_dropout=0.0)


def learner(model: ModelConfig, data: Dataset) -> Learner:
    spec = data.target.spec
    loss = LossConfig(label_smoothing=0.0) if spec.kind == "classes" else LossConfig(kind="mse")
    weights = np.ones(len(spec.names), np.float32)
    training = TrainingConfig(batch_size=8, average=0.0, weight_decay=0.0)
    return FAMILIES[model.family].build(Task(model, training, loss, data.specs, spec, weights, 3))


def predicted(model: Learner, data: Dataset) -> np.ndarray:
    return model.predict(batches(data)).values


def test_with_dropout_attention_drops_as_well():
    """torch's transformer layers take another path where they do not train, which drops nothing."""
    import torch

    from mien.families.frameworks import torch as framework

    layer = torch.nn.TransformerEncoderLayer(8, 2, 8, dropout=0.5, batch_first=True, norm_first=True).eval()
    for dropout in (layer.dropout, layer.dropout1, layer.dropout2):
        dropout.p = 0.0
    x = torch.ones(2, 5, 8) * torch.arange(5)[None, :, None] ** torch.arange(8)
    with torch.no_grad(), framework.seeded("test"):
        assert torch.equal(layer(x), layer(x))
        framework.drop_out(layer)
        assert not torch.allclose(layer(x), layer(x), atol=1e-3)


def trained(model: ModelConfig, data: Dataset, *, epochs: int, rate: float) -> Learner:
    one = learner(model, data)
    for epoch in range(1, epochs + 1):
        one.train_epoch(batches(data), epoch=epoch, rate=lambda progress: rate)
    return one


# ------------------------------------------------------------------ layers


def test_a_bilstm_reads_the_frames_up_to_the_last_valid_one_as_torchs_own_does() -> None:
    import torch

    from mien.families.frameworks.torch_layers import BiLstm

    torch.manual_seed(0)
    ours, theirs = BiLstm(5, 7), torch.nn.LSTM(5, 7, batch_first=True, bidirectional=True)
    ours.forwards.load_state_dict({n: w for n, w in theirs.state_dict().items() if not n.endswith("reverse")})
    ours.backwards.load_state_dict(
        {n.removesuffix("_reverse"): w for n, w in theirs.state_dict().items() if n.endswith("reverse")}
    )
    x, lengths = torch.randn(3, 11, 5), [11, 4, 1]
    mask = torch.arange(11)[None] < torch.tensor(lengths)[:, None]
    found = ours(x, mask)
    for row, n in enumerate(lengths):
        alone = theirs(x[row : row + 1, :n])[0][0]
        torch.testing.assert_close(found[row, :n], alone, atol=1e-6, rtol=0)
        assert not found[row, n:].any()


def test_the_3d_resnet_is_torchvisions_where_nothing_is_masked() -> None:
    import torch
    from torchvision.models.video import r3d_18

    from mien.families.resnet3d import Resnet3d

    torch.manual_seed(0)
    theirs = r3d_18(weights=None)
    theirs.train()(torch.randn(2, 3, 4, 16, 16))  # its statistics are of something
    theirs.eval()
    ours = Resnet3d((2, 2, 2, 2), 64, "frozen", time_stride=True).train()
    kept = {name: array for name, array in theirs.state_dict().items() if not name.startswith("fc.")}
    ours.load_state_dict(kept)
    x = torch.randn(1, 3, 9, 16, 16)
    with torch.no_grad():
        found, mask = ours(x, torch.ones(1, 9, dtype=torch.bool))
        maps = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(theirs.stem(x)))))
    assert found.shape == (1, 2, 512)
    assert mask.shape == (1, 2)
    torch.testing.assert_close(found, maps.mean(dim=(3, 4)).transpose(1, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", ["group", "frozen"])
@pytest.mark.parametrize("time_stride", [True, False])
def test_pictures_that_are_padding_change_nothing_in_a_3d_resnet(norm: str, time_stride: bool) -> None:
    import torch

    from mien.families.resnet3d import Resnet3d

    torch.manual_seed(0)
    net = Resnet3d((1, 1, 1), 4, norm, time_stride)
    x, mask = torch.randn(2, 3, 5, 12, 12), torch.ones(2, 5, dtype=torch.bool)
    found, valid = net(x, mask)
    assert found.shape[1] == valid.shape[1] == (2 if time_stride else 5)
    padded, still_valid = net(
        torch.cat([x, torch.full((2, 3, 6, 12, 12), 9.0)], dim=2),
        torch.cat([mask, torch.zeros_like(mask), mask[:, :1] & False], dim=1),
    )
    assert torch.equal(padded[:, : found.shape[1]], found)
    assert still_valid.sum(dim=1).tolist() == valid.sum(dim=1).tolist()
    assert not padded[:, found.shape[1] :].any()


def test_published_weights_are_read_before_the_first_epoch_and_not_when_a_checkpoint_is_there(tmp_path: Path) -> None:
    import torch
    from torchvision.models.video import r3d_18

    torch.manual_seed(1)
    path = tmp_path / "r3d.pt"
    torch.save(r3d_18(weights=None).state_dict(), path)
    spec = dataclasses.replace(FILM, shape=(16, 16, 3))
    frames = [Frames(np.full((2, 16, 16, 3), 90, np.uint8), np.ones(2, bool))] * 4
    data = dataclasses.replace(dataset(4), columns={"film": InMemory(spec, frames)})
    config = Resnet3dLstmConfig(norm="frozen", weights=str(path), lstm_units=2, dense_units=3)
    model = learner(config, data)
    model.train_epoch(list(batches(data))[:1], epoch=1, rate=lambda progress: 0.0)
    found = model._model.resnet.state_dict()["layer1.0.conv1.0.weight"]
    assert torch.equal(found, torch.load(path, weights_only=True)["layer1.0.conv1.0.weight"])
    model.export(tmp_path)
    path.unlink()
    restored = learner(config, data)
    restored.restore(tmp_path)
    np.testing.assert_array_equal(predicted(restored, data), predicted(model, data))
    with pytest.raises(MienError, match="r3d.pt"):
        learner(config, data).train_epoch(batches(data), epoch=1, rate=lambda progress: 0.0)


def test_pictures_are_read_one_feature_at_a_time() -> None:
    data = dataset(4)
    two = {"film": film(data), "other": film(data)}
    with pytest.raises(ExperimentError, match="reads one feature of pictures, not film, other"):
        learner(Resnet3dLstmConfig(), dataclasses.replace(data, columns=two))


# ------------------------------------------------------------------ steps and time


def test_steps_of_a_clip_do_not_depend_on_the_clips_beside_it() -> None:
    spec = FeatureSpec(name="x", version=1, modality="audio", shape=(1,), hop_s=0.1, offset_s=0.5)
    lengths = [40, 7, 23]
    frames = [Frames(np.arange(n, dtype=np.float32)[:, None], np.ones(n, bool)) for n in lengths]
    data = dataclasses.replace(dataset(3), columns={"x": InMemory(spec, frames)})
    (together,) = batches(data, batch_size=3)
    found = steps_of(together, {"x": spec}, 0.0, 10)["x"]
    assert found.values.shape == (3, 10, 1)
    for row, n in enumerate(lengths):
        alone = list(batches(data, batch_size=1))[row]
        one = steps_of(alone, {"x": spec}, 0.0, 10)["x"]
        k = min(n, 10)
        np.testing.assert_array_equal(found.values[row, :k], one.values[0, :k])
        assert found.mask[row].sum() == k
        # Each step knows when it was.
        np.testing.assert_allclose(found.times_s[row, :k], 0.5 + 0.1 * found.values[row, :k, 0], atol=1e-6)
    assert found.values[0, :, 0].tolist() == list(range(0, 40, 4))
    strided = steps_of(together, {"x": spec}, 0.3, 100)["x"]
    assert strided.values[0, :3, 0].tolist() == [0, 3, 6]


def test_a_transformer_knows_when_a_frame_was_and_not_only_that_it_was() -> None:
    """The same frames in another order: with times a model can tell them apart."""
    data = dataset(12)
    columns = {"voice": data.columns["voice"]}
    data = dataclasses.replace(data, columns=columns)
    turned = [Frames(columns["voice"][row].values[::-1].copy(), columns["voice"][row].valid) for row in range(12)]
    backwards = dataclasses.replace(data, columns={"voice": InMemory(columns["voice"].spec, turned)})
    model = trained(SMALL, data, epochs=1, rate=0.01)
    assert np.abs(predicted(model, data) - predicted(model, backwards)).max() > 1e-4


def test_layers_of_a_stack_do_not_begin_alike() -> None:
    import torch

    model = learner(dataclasses.replace(SMALL, layers=2, cross_layers=2), dataset(8))._model
    first, second = model.encoders[0].layers.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    first, second = model.cross[0].layers.layers
    assert not torch.equal(first.multihead_attn.in_proj_weight, second.multihead_attn.in_proj_weight)


@pytest.mark.parametrize("config", [SMALL, AffectEnsembleConfig(units=8)], ids=lambda config: config.family)
def test_hidden_inputs_are_never_all_that_a_clip_has(config: ModelConfig) -> None:
    import torch

    from mien.families.frameworks.torch_layers import ModalityDropout

    torch.manual_seed(0)
    masks = [torch.ones(500, 3, dtype=torch.bool) for _ in range(3)]
    masks[1][:250] = False
    hide = ModalityDropout(0.6).train()
    shown = torch.stack([mask.any(dim=1) for mask in hide(masks)], dim=1)
    assert shown.any(dim=1).all()
    assert shown[250:].float().mean().item() == pytest.approx(0.4 + 0.6**3, abs=0.04), (
        "of three, all are shown where none would be"
    )
    assert hide.eval()(masks) is masks
    assert learner(config, dataset(4))._model.hide.probability == config.modality_dropout


# ------------------------------------------------------------------ fusion


def votes(*reliable: float, n: int = 240) -> Dataset:
    """Clips and what parents predicted of them: each is right with its own probability, and sure of it."""
    rng, data = np.random.default_rng(0), dataset(n, missing=False)
    columns = {}
    for i, share in enumerate(reliable):
        said = np.where(rng.random(n) < share, data.target.truth, (data.target.truth + rng.integers(1, 3, n)) % 3)
        values = np.full((n, 3), 0.1, np.float32)
        values[np.arange(n), said] = 0.8
        spec = FeatureSpec(name=f"parent{i}", version=1, modality="prediction", shape=(3,), hop_s=None)
        columns[spec.name] = InMemory(spec, [Frames(row[None], np.ones(1, bool)) for row in values])
    return dataclasses.replace(data, columns=columns)


@pytest.mark.parametrize("late", ["weighted", "meta"])
def test_a_late_fusion_trusts_the_better_parent(late: str) -> None:
    data = votes(0.9, 0.5)
    model = trained(AffectEnsembleConfig(fusion="late", late=late), data, epochs=8, rate=0.05)
    right = (predicted(model, data).argmax(axis=1) == data.target.truth).mean()
    best = (
        np.array([data.columns["parent0"][i].values[0] for i in range(len(data))]).argmax(axis=1) == data.target.truth
    ).mean()
    assert right >= best - 0.01
    if late == "weighted":
        first, second = model._model.weights.tolist()
        assert first > second + 0.5


def test_a_parent_that_is_missing_has_no_vote() -> None:
    data = votes(0.9, 0.5, n=24)
    model = trained(AffectEnsembleConfig(fusion="late"), data, epochs=4, rate=0.05)
    second = data.columns["parent1"]
    nobody = InMemory(second.spec, [None] * len(data))
    without = predicted(model, dataclasses.replace(data, columns={**data.columns, "parent1": nobody}))
    first = np.array([data.columns["parent0"][i].values[0] for i in range(len(data))])
    sharpness = float(model._model.sharpness.detach().exp())
    expected = first**sharpness / (first**sharpness).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(without, expected, atol=1e-6)


def test_early_fusion_of_one_clip_of_one_step() -> None:
    """Its mask was an array with a negative stride, which torch refuses."""
    data = dataset()
    task = Task(
        AffectEnsembleConfig(units=12, fusion="early"),
        TrainingConfig(),
        LossConfig(),
        data.specs,
        data.target.spec,
        np.ones(3, np.float32),
        0,
    )
    learner = FAMILIES["affect_ensemble"].build(task)
    assert learner.predict([example_batch(task, (1,))]).values.shape == (1, 3)


def test_early_fusion_lays_inputs_on_one_clock() -> None:
    specs = {
        "fast": FeatureSpec(name="fast", version=1, modality="eeg", shape=(1,), hop_s=0.5, offset_s=0.25),
        "slow": FeatureSpec(name="slow", version=1, modality="physio", shape=(1,), hop_s=2.0, offset_s=1.0),
        "row": FeatureSpec(name="row", version=1, modality="physio", shape=(1,), hop_s=None),
    }
    lengths = {"fast": 13, "slow": 3, "row": 1}
    columns = {}
    for name, spec in specs.items():
        times = spec.offset_s + np.arange(lengths[name]) * (spec.hop_s or 0)
        columns[name] = InMemory(spec, [Frames(times.astype(np.float32)[:, None], np.ones(lengths[name], bool))])
    data = dataclasses.replace(dataset(1), columns=columns)
    task = Task(
        AffectEnsembleConfig(fusion="early", step_s=1.0),
        TrainingConfig(),
        LossConfig(),
        specs,
        data.target.spec,
        np.ones(3, np.float32),
        0,
    )
    (batch,) = batches(data, batch_size=1)
    found = reading.fused(batch, task)
    steps = found["steps"][0][found["mask"][0]]
    there = steps[:, 1] > 0
    assert np.abs(steps[there, 0] - np.arange(len(steps))[there]).max() <= 0.25, "the nearest frame of each step"
    there = steps[:, 3] > 0
    assert np.abs(steps[there, 2] - np.arange(len(steps))[there]).max() <= 1.0
    assert (steps[:, 5] == 1).all(), "a row stands at each step"


def test_a_fusion_refuses_what_it_cannot_read() -> None:
    data = dataset(4)
    with pytest.raises(ExperimentError, match="fusion late reads parents alone"):
        learner(AffectEnsembleConfig(fusion="late"), data)
    with pytest.raises(ExperimentError, match="fusion hybrid reads no parents"):
        learner(AffectEnsembleConfig(), votes(0.9, n=6))
    pictures = dataclasses.replace(data, columns={"film": film(data)})
    with pytest.raises(ExperimentError, match="fusion early cannot lay film, pictures, beside numbers"):
        learner(AffectEnsembleConfig(fusion="early"), pictures)


@pytest.mark.parametrize("fusion", ["early"])
def test_the_other_fusions_learn_as_well(fusion: str) -> None:
    """Hybrid is held to the contract of all families."""
    data = dataset(41)
    model = trained(
        AffectEnsembleConfig(fusion=fusion, units=12, kernel=3, step_s=0.2, dropout=0.0), data, epochs=12, rate=0.02
    )
    assert (predicted(model, data).argmax(axis=1) == data.target.truth).mean() > 0.95
    together, alone = (model.predict(batches(data, size)).values for size in (41, 1))
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_windows_of_raw_eeg_are_read() -> None:
    """Class k is a wave of its own frequency on one channel."""
    rng = np.random.default_rng(0)
    spec = FeatureSpec(name="eeg-raw", version=1, modality="eeg", shape=(3, 32), hop_s=1.0)
    data = dataset(30, missing=False)
    frames = []
    for label in data.target.truth:
        values = rng.normal(0, 0.3, (4, 3, 32)).astype(np.float32)
        values[:, 1] += np.sin(np.arange(32) * (0.4 + 0.6 * label)).astype(np.float32)
        frames.append(Frames(values, np.ones(4, bool)))
    data = dataclasses.replace(data, columns={"eeg-raw": InMemory(spec, frames)})
    model = trained(AffectEnsembleConfig(units=8, dropout=0.0), data, epochs=12, rate=0.02)
    assert (predicted(model, data).argmax(axis=1) == data.target.truth).mean() > 0.9
