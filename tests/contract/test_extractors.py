"""What every extractor of the registry promises, whatever it hears, sees or reads."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import ExperimentError
from mien.features import extractors
from mien.features.extractors.openface import ACTION_UNITS
from mien.features.spec import Extractor, FeatureSpec, Frames
from tiny_media import voice

Signals = Callable[[Path, float], Any]  # a folder to write to, seconds -> a signal


def sound(folder: Path, seconds: float) -> NDArray[np.float32]:
    return voice(seconds)


def silence(folder: Path, seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * 16_000), np.float32)


def film(folder: Path, seconds: float) -> list[NDArray[np.uint8]]:
    """A face that moves to the right; 10 pictures a second."""
    from skimage.data import astronaut

    return [np.roll(astronaut()[:300, 50:450], 3 * k, axis=1) for k in range(max(1, round(seconds * 10)))]


def dark_film(folder: Path, seconds: float) -> list[NDArray[np.uint8]]:
    return [np.zeros((120, 160, 3), np.uint8)] * max(1, round(seconds * 10))


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

    something: Signals
    nothing: Signals
    nothing_is_valid: bool
    settings: dict[str, Any] = field(default_factory=dict)


CASES = {
    "egemaps": Case(something=sound, nothing=silence, nothing_is_valid=True),
    "egemaps-clip": Case(something=sound, nothing=silence, nothing_is_valid=True),
    "compare-clip": Case(something=sound, nothing=silence, nothing_is_valid=True),
    "facenet": Case(something=film, nothing=dark_film, nothing_is_valid=False, settings={"weights": "random"}),
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
    assert values.dtype == np.float32
    assert valid.dtype == np.bool_
    assert values.shape == (len(valid), spec.dim)
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
    assert len(set(spec.columns)) == spec.dim


def test_an_extractor_can_be_sent_to_a_worker(extractor: Extractor, case: Case, tmp_path: Path) -> None:
    sent = pickle.loads(pickle.dumps(extractor))
    signal = case.something(tmp_path, 1.0)
    np.testing.assert_array_equal(sent(signal, sent.rate_hz).values, extractor(signal, extractor.rate_hz).values)


def test_an_unknown_name_is_answered_with_the_known() -> None:
    with pytest.raises(ExperimentError, match="egemaps"):
        extractors.build("mfcc-of-1980")
