"""Effects: settings that decide nothing enter no signature and no search, and they do decide nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mien.data import augment
from mien.data.batches import clip_keys
from mien.errors import ExperimentError
from mien.experiment import (
    AffectEnsembleConfig,
    AugmentConfig,
    AvTransformerConfig,
    DataConfig,
    DimensionsConfig,
    ExecutionConfig,
    Experiment,
    LossConfig,
    LstmAttentionConfig,
    MlpConfig,
    ProtocolConfig,
    SvmConfig,
    TrainingConfig,
)
from mien.experiment.effects import SWITCHES, set_in_vain, without_effect
from mien.experiment.search import Search
from mien.experiment.space import check_effects, read_space, value_of
from mien.features.spec import Frames
from mien.results.search_folder import SearchFolder
from mien.training.search.ledger import Ledger

BASE = Experiment(name="base")
ONE_INPUT = DataConfig(features=("egemaps",))


def changed(experiment: Experiment, path: str, value: object) -> Experiment:
    page, _, name = path.partition(".")
    return dataclasses.replace(experiment, **{page: dataclasses.replace(getattr(experiment, page), **{name: value})})


@pytest.mark.parametrize(
    ("switch", "path", "value"),
    [
        ({"loss": LossConfig(kind="cross-entropy")}, "loss.gamma", 3.0),
        ({"loss": LossConfig(kind="mse"), "target": DimensionsConfig()}, "loss.mse", 0.5),
        ({"augment": AugmentConfig(kind="none")}, "augment.factor", 3.0),
        ({"augment": AugmentConfig(kind="none")}, "augment.stretch", (0.5, 1.0)),
        ({"augment": AugmentConfig(kind="audio")}, "augment.stretch", (0.5, 1.0)),
        ({"augment": AugmentConfig(kind="sync")}, "augment.audio_pitch", (0.5, 1.0)),
        ({"augment": AugmentConfig(factor=1.0)}, "augment.kind", "audio"),
        ({"augment": AugmentConfig(probability=0.0)}, "augment.noise", (0.0, 1.0)),
        ({"training": TrainingConfig(keep="last")}, "training.patience", 3),
        ({"training": TrainingConfig(keep="last")}, "protocol.validation", 0.5),
        ({"training": TrainingConfig(schedule="cosine")}, "training.warmup", 0.5),
        ({"model": SvmConfig()}, "training.learning_rate", 0.5),
        ({"model": SvmConfig()}, "loss.label_smoothing", 0.5),
        ({"model": LstmAttentionConfig(conv_filters=0)}, "model.conv_kernel", 5),
        ({"protocol": ProtocolConfig(kind="loso")}, "protocol.folds", 7),
        ({"data": ONE_INPUT, "model": AvTransformerConfig()}, "model.cross_layers", 2),
        ({"data": ONE_INPUT, "model": AffectEnsembleConfig()}, "model.modality_dropout", 0.5),
        ({"model": AffectEnsembleConfig(fusion="late")}, "model.units", 8),
        ({"model": AffectEnsembleConfig(fusion="late", late="equal")}, "training.epochs", 8),
        ({"model": AffectEnsembleConfig(fusion="late", late="equal")}, "loss.label_smoothing", 0.5),
        ({"model": AffectEnsembleConfig(fusion="early")}, "model.auxiliary", 0.5),
        ({"model": AffectEnsembleConfig(fusion="hybrid")}, "model.late", "meta"),
        ({"model": AffectEnsembleConfig(fusion="hybrid")}, "model.step_s", 0.5),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_setting_that_is_switched_off_makes_no_other_experiment(switch, path, value):
    experiment = dataclasses.replace(BASE, **switch)
    other = changed(experiment, path, value)
    assert other != experiment
    assert other.signature({}) == experiment.signature({})
    assert set_in_vain(other)[path] == (value, without_effect(experiment)[path])
    assert path not in set_in_vain(experiment)
    # Where it is switched on, it makes another experiment.
    base = dataclasses.replace(BASE, model=type(experiment.model)())
    assert changed(base, path, value).signature({}) != base.signature({}) or path in without_effect(base)


@pytest.mark.parametrize("kind", ["none", "audio", "sync", "independent", "pixels"])
def test_settings_of_augmentation_without_effect_change_no_number(kind):
    """Each setting doubled or moved: the copies change if, and only if, it is said to have an effect."""
    rng = np.random.default_rng(0)
    frames = {
        name: Frames(rng.standard_normal((60, 4)).astype(np.float32), np.ones(60, bool)) for name in ("heard", "seen")
    }
    frames["film"] = Frames(rng.integers(0, 255, (60, 4, 4, 3)).astype(np.uint8), np.ones(60, bool))
    modalities = {"heard": "audio", "seen": "video", "film": "video"}

    def copies(config: AugmentConfig) -> list[np.ndarray]:
        keys = clip_keys([f"clip-{number}" for number in range(50)])
        found = [augment.n_copies(keys, 0, 1, config)]
        for copy in range(1, 9):  # of the audio kinds one is drawn for each copy
            made = augment.augment(
                frames, modalities=modalities, config=config, rng=augment.rng_for(0, 1, "clip", copy)
            )
            found += [one.values for one in made.values()]
        return found

    def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
        return all(np.array_equal(a, b) for a, b in zip(one, other))

    base = changed(BASE, "augment.kind", kind)
    moved = {"factor": 3.0, "probability": 0.1, "stretch": (0.5, 0.6), "noise": (0.5, 0.6), "reference": "video"}
    moved |= {"flip": 1.0, "brightness": (0.4, 0.5), "contrast": (0.4, 0.5)}
    moved |= {"audio_noise": (0.5, 0.6), "audio_pitch": (0.5, 0.6), "audio_tempo": (0.5, 0.6)}
    assert moved.keys() == {field.name for field in dataclasses.fields(AugmentConfig)} - {"kind"}
    for name, value in moved.items():
        other = changed(base, f"augment.{name}", value)
        assert same(copies(base.augment), copies(other.augment)) == (f"augment.{name}" in without_effect(base)), name


def test_switches_are_fields():
    for path in SWITCHES:
        value_of(dataclasses.replace(BASE, model=AffectEnsembleConfig()) if path == "model.fusion" else BASE, path)


def test_a_search_takes_no_field_that_can_have_no_effect():
    entropy = dataclasses.replace(BASE, loss=LossConfig(kind="cross-entropy"))

    def check(experiment: Experiment, space: dict[str, str], **more: Any) -> None:
        check_effects(experiment, read_space(experiment, space), **more)

    with pytest.raises(ExperimentError, match=r"space 'loss\.gamma': it has no effect: loss\.kind is cross-entropy"):
        check(entropy, {"loss.gamma": "0 .. 4"})
    with pytest.raises(ExperimentError, match=r"'augment\.audio_noise\.0': it has no effect: augment\.kind is sync"):
        check(BASE, {"augment.audio_noise.0": "0 .. 0.005"})
    check(entropy, {"loss.kind": "focal | cross-entropy", "loss.gamma": "0 .. 4"})
    kinds = read_space(entropy, {"loss.kind": "focal | cross-entropy"})
    check(entropy, {"loss.gamma": "0 | 2"}, beside=kinds)


def test_points_that_differ_in_nothing_that_counts_are_one_trial(tmp_path):
    """Gamma under cross-entropy: of the four points of this grid three are different experiments."""
    text = {"loss.kind": "focal | cross-entropy", "loss.gamma": "1 | 2"}
    experiment = dataclasses.replace(BASE, execution=ExecutionConfig(storage=str(tmp_path)))
    folder = SearchFolder.create(Search(experiment=experiment, space=text, method="grid", trials=4))
    ledger = Ledger(folder, 0, read_space(experiment, text), {}, lambda trial: None)
    begun = []
    while (trial := ledger.begin(f"trial {len(begun)}")) is not None:
        begun.append(trial["point"])
    kinds = [point["loss.kind"] for point in begun]
    assert sorted(kinds) == ["cross-entropy", "focal", "focal"]


def test_a_support_vector_machine_of_dimensions_needs_no_loss_to_be_named():
    """Whichever is named, it learns the same; a network must be told."""
    unnamed = Experiment(name="x", target=DimensionsConfig(), model=SvmConfig())
    named = dataclasses.replace(unnamed, loss=LossConfig(kind="mse"))
    assert unnamed.signature({}) == named.signature({})
    assert not [path for path in set_in_vain(unnamed) if path.startswith("loss")]
    with pytest.raises(ValueError, match="loss.kind is focal and the target is of dimensions: choose mse or ccc"):
        Experiment(name="x", target=DimensionsConfig(), model=MlpConfig())
