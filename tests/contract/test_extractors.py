"""What every extractor of the registry promises, whatever it hears, sees or reads."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import ExperimentError
from mien.features import extractors
from mien.features.extractors.openface import ACTION_UNITS
from mien.features.spec import Codec, Extractor, FeatureSpec, Frames, Kind
from tiny_media import voice

Signal = Callable[[Path, float], Any]  # a folder to write to, seconds -> a signal


def sound(folder: Path, seconds: float) -> NDArray[np.float32]:
    return voice(seconds)


def silence(folder: Path, seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * 16_000), np.float32)


def faces(rate_hz: float) -> Signal:
    """A face that moves to the right, in its box."""

    def film(folder: Path, seconds: float) -> list[tuple[NDArray[np.uint8], NDArray[np.float32] | None]]:
        from skimage.data import astronaut

        box = np.array([125.0, 75.0, 215.0, 195.0], np.float32)  # of the portrait cut out below
        moved = [round(30 * k / rate_hz) for k in range(max(1, round(seconds * rate_hz)))]
        return [(np.roll(astronaut()[:300, 50:450], x, axis=1), box + np.float32([x, 0, x, 0])) for x in moved]

    return film


def no_faces(rate_hz: float) -> Signal:
    def film(folder: Path, seconds: float) -> list[tuple[NDArray[np.uint8], None]]:
        return [(np.zeros((120, 160, 3), np.uint8), None)] * max(1, round(seconds * rate_hz))

    return film


def table(folder: Path, seconds: float, success: int = 1) -> str:
    rng = np.random.default_rng(0)
    rows = [",".join(("success", *ACTION_UNITS))]
    rows += [",".join(map(str, (success, *rng.uniform(0, 5, 35)))) for _ in range(max(1, round(seconds * 30)))]
    path = folder / f"{seconds}-{success}.csv"
    path.write_text("\n".join(rows))
    return str(path)


def unseen(folder: Path, seconds: float) -> str:
    return table(folder, seconds, success=0)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One extractor, its settings, a signal with content and one with nothing in it, and what that counts
    for."""

    something: Signal
    nothing: Signal
    nothing_is_valid: bool
    settings: dict[str, Any] = field(default_factory=dict)


CASES = {
    "egemaps": Case(something=sound, nothing=silence, nothing_is_valid=True),
    "egemaps-clip": Case(something=sound, nothing=silence, nothing_is_valid=True),
    "compare-clip": Case(something=sound, nothing=silence, nothing_is_valid=True),
    "facenet": Case(
        something=faces(10.0), nothing=no_faces(10.0), nothing_is_valid=False, settings={"weights": "random"}
    ),
    "frames": Case(something=faces(25.0), nothing=no_faces(25.0), nothing_is_valid=False),
    "openface": Case(something=table, nothing=unseen, nothing_is_valid=False),
    "openface-clip": Case(something=table, nothing=unseen, nothing_is_valid=False),
}
NEEDS_TORCH = {"facenet"}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.torch if name in NEEDS_TORCH else ()) for name in CASES])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


@pytest.fixture
def extractor(name: str, case: Case) -> Extractor:
    return extractors.build(name, **case.settings)


def assert_keeps_contract(frames: Frames, spec: FeatureSpec) -> None:
    values, valid = frames
    assert values.dtype == (np.float32 if spec.codec == "float32" else np.uint8)
    assert valid.dtype == np.bool_
    assert values.shape == (len(valid), *spec.shape)
    assert len(values) > 0
    assert np.isfinite(values).all()
    assert not values[~valid].any()


def test_every_registered_extractor_is_tested_here() -> None:
    assert set(CASES) == set(extractors.EXTRACTORS)


def test_frames_keep_the_contract(extractor: Extractor, case: Case, tmp_path: Path) -> None:
    frames = extractor(case.something(tmp_path, 2.0), extractor.rate_hz)
    assert_keeps_contract(frames, extractor.spec)
    assert frames.valid.all()
    assert len(np.unique(frames.values)) > 10


def test_the_number_of_frames_follows_from_the_spec(extractor: Extractor, case: Case, tmp_path: Path) -> None:
    n_frames = len(extractor(case.something(tmp_path, 3.0), extractor.rate_hz).values)
    if extractor.spec.hop_s is None:
        assert n_frames == 1
    else:
        covered_s = 3.0 - 2 * extractor.spec.offset_s
        assert n_frames == pytest.approx(covered_s / extractor.spec.hop_s, abs=1.01)


def test_twice_the_same_is_the_same_to_the_bit(extractor: Extractor, case: Case, name: str, tmp_path: Path) -> None:
    again = extractors.build(name, **case.settings)
    assert again.spec == extractor.spec
    first, second = (e(case.something(tmp_path, 1.5), e.rate_hz) for e in (extractor, again))
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.valid, second.valid)


def test_the_order_of_clips_does_not_matter(extractor: Extractor, case: Case, tmp_path: Path) -> None:
    lengths_s = [1.2, 2.1, 0.4]
    forwards = [extractor(case.something(tmp_path, s), extractor.rate_hz).values for s in lengths_s]
    backwards = [extractor(case.something(tmp_path, s), extractor.rate_hz).values for s in lengths_s[::-1]]
    for one, other in zip(forwards, backwards[::-1]):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.7])
def test_short_clips_have_at_least_a_row(extractor: Extractor, case: Case, tmp_path: Path, seconds: float) -> None:
    assert_keeps_contract(extractor(case.something(tmp_path, seconds), extractor.rate_hz), extractor.spec)


def test_nothing_to_hear_or_see_is_an_outcome(extractor: Extractor, case: Case, tmp_path: Path) -> None:
    frames = extractor(case.nothing(tmp_path, 2.0), extractor.rate_hz)
    assert_keeps_contract(frames, extractor.spec)
    assert frames.valid.all() == case.nothing_is_valid
    assert frames.valid.any() == case.nothing_is_valid


def test_the_spec_survives_json(extractor: Extractor, name: str) -> None:
    spec = FeatureSpec.from_json(json.loads(json.dumps(extractor.spec.to_json())))
    assert spec == extractor.spec
    assert spec.folder == extractor.spec.folder
    assert spec.name == name
    if spec.columns:
        assert len(set(spec.columns)) == spec.dim


def test_it_says_what_it_reads_and_what_it_gives(extractor: Extractor) -> None:
    assert extractor.kind in get_args(Kind)
    assert extractor.medium
    assert extractor.is_heavy in (True, False)
    assert (extractor.rate_hz > 0) == (extractor.kind in ("sound", "pictures", "faces"))
    assert extractor.spec.modality in ("audio", "video", "eeg", "physio")
    assert extractor.spec.codec in get_args(Codec)
    assert extractor.spec.version >= 1
    assert extractor.spec.settings == json.loads(json.dumps(extractor.spec.to_json()))["settings"]


def test_its_settings_are_a_page_of_help(name: str) -> None:
    """A frozen dataclass; each field has a default and a docstring of its own under it, which tyro shows."""
    declared = extractors.settings_of(name)
    assert declared.__doc__ and not declared.__doc__.startswith(declared.__name__ + "(")
    settings = declared()
    for setting in fields(declared):
        with pytest.raises(FrozenInstanceError):
            setattr(settings, setting.name, None)
    body = next(
        node
        for node in ast.parse(inspect.getsource(sys.modules[declared.__module__])).body
        if isinstance(node, ast.ClassDef) and node.name == declared.__name__
    ).body
    documented = {
        one.target.id
        for one, text in itertools.pairwise(body)
        if isinstance(one, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    assert documented == {setting.name for setting in fields(declared)}


def test_its_settings_are_recorded_as_asked(name: str, case: Case) -> None:
    asked = json.loads(json.dumps(asdict(extractors.choose(name, **case.settings))))
    assert asked.items() >= case.settings.items()
    assert extractors.build(name, **asked).spec == extractors.build(name, **case.settings).spec


def test_another_setting_is_another_feature(name: str, case: Case) -> None:
    """What changes the numbers changes the folder in the store."""
    usual = extractors.choose(name, **case.settings)
    for setting in fields(usual):
        value = getattr(usual, setting.name)
        if isinstance(value, int | float):
            other = replace(usual, **{setting.name: value * 2 if value != 92 else 80})
            assert other.build().spec.folder != usual.build().spec.folder, setting.name


def test_unknown_settings_and_wrong_types_name_the_extractor_and_the_known_ones(name: str) -> None:
    known = [setting.name for setting in fields(extractors.settings_of(name))]
    with pytest.raises(ExperimentError, match=f"{name}.*'loudness'") as error:
        extractors.build(name, loudness=11)
    assert all(setting in str(error.value) for setting in known)
    for setting in known:
        with pytest.raises(ExperimentError, match=f"{name}.*{setting}") as error:
            extractors.build(name, **{setting: ["no such thing"]})
        assert all(setting in str(error.value) for setting in known)


def test_an_extractor_can_be_sent_to_a_worker(extractor: Extractor, case: Case, tmp_path: Path) -> None:
    sent = pickle.loads(pickle.dumps(extractor))
    signal = case.something(tmp_path, 1.0)
    np.testing.assert_array_equal(sent(signal, sent.rate_hz).values, extractor(signal, extractor.rate_hz).values)


def test_an_unknown_name_is_answered_with_the_known() -> None:
    with pytest.raises(ExperimentError, match="egemaps"):
        extractors.build("mfcc-of-1980")


def test_extractors_of_your_own_are_named_by_their_module() -> None:
    assert extractors.build("tiny_extractors:Loudness").spec.name == "loudness"
    for name in ("tiny_extractors:Nothing", "no_such_module:Settings", "tiny_extractors:RATE_HZ"):
        with pytest.raises(ExperimentError, match=name):
            extractors.build(name)
    with pytest.raises(ExperimentError, match=r"tiny_extractors:Deadly.*setting length is lacking"):
        extractors.build("tiny_extractors:Deadly")
