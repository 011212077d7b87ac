"""What every extractor of the registry promises, whatever it hears, sees or reads."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import itertools
import json
import pickle
import re
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import ExperimentError
from mien.features import extractors
from mien.features.extractors.eeg_signal import BIOSEMI_32
from mien.features.extractors.openface import ACTION_UNITS
from mien.features.spec import Codec, Extractor, FeatureSpec, Frames, Kind, Signals
from tiny_media import voice

# ---------------------------------------------------------------------- what extractors of each kind are given


def sound(rate_hz: float, seconds: float, is_something: bool) -> NDArray[np.float32]:
    heard = voice(seconds, round(rate_hz))
    return heard if is_something else np.zeros_like(heard)


def pictures(rate_hz: float, seconds: float, is_something: bool) -> list[NDArray[np.uint8]]:
    """A portrait that moves to the right; nothing is darkness."""
    from skimage.data import astronaut

    if not is_something:
        return [np.zeros((120, 160, 3), np.uint8)] * max(1, round(seconds * rate_hz))
    moved = [round(30 * k / rate_hz) for k in range(max(1, round(seconds * rate_hz)))]
    return [np.roll(astronaut()[:300, 50:450], x, axis=1) for x in moved]


def faces(rate_hz: float, seconds: float, is_something: bool) -> list[tuple[NDArray[np.uint8], Any]]:
    box = np.array([125.0, 75.0, 215.0, 195.0], np.float32)  # of the portrait before it moves
    return [
        (picture, box + np.float32(30 * k / rate_hz) * np.float32([1, 0, 1, 0]) if is_something else None)
        for k, picture in enumerate(pictures(rate_hz, seconds, is_something))
    ]


def signals(rate_hz: float, seconds: float, is_something: bool) -> Signals:
    """EEG (noise over slow waves) of 32 channels, heart beats, skin resistance, breathing and temperature, among others;
    nothing is sensors that stand still."""
    rate_hz, rng = 256.0, np.random.default_rng(0)
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    channels = {name: ("uV", 10 * np.sin(2 * np.pi * (k + 2) * times_s)) for k, name in enumerate(BIOSEMI_32)}
    beat = 900 * np.exp(-(((times_s * 1.2) % 1 - 0.5) ** 2) / 0.001)
    channels |= {"EXG1": ("uV", beat * 0), "EXG3": ("uV", beat), "GSR1": ("Ohm", 3e5 - 1e3 * times_s)}
    channels |= {"Erg1": ("uV", 0 * times_s), "Resp": ("uV", 900 * np.sin(np.pi * times_s))}
    channels |= {"Temp": ("degC", 31 + 0.01 * times_s)}
    waves = [wave + rng.normal(0, 5 if unit == "uV" else 0.01, len(wave)) for unit, wave in channels.values()]
    values = np.column_stack(waves) if is_something else np.ones((len(times_s), len(channels)))
    return Signals(values.astype(np.float32), tuple(channels), tuple(unit for unit, _ in channels.values()), rate_hz)


def openface_table(path: Path, seconds: float, is_something: bool) -> None:
    rng = np.random.default_rng(0)
    rows = [",".join(("success", *ACTION_UNITS))]
    rows += [
        ",".join(map(str, (int(is_something), *rng.uniform(0, 5, 35)))) for _ in range(max(1, round(seconds * 30)))
    ]
    path.write_text("\n".join(rows))


GIVEN = {"sound": sound, "pictures": pictures, "faces": faces, "signals": signals}
# Each program's tables are its own: how to write one, by the name of the extractor that reads it.
TABLES = {"openface": openface_table, "openface-clip": openface_table}
# What cannot be had in a test, by the name of the extractor.
SETTINGS: dict[str, dict[str, Any]] = {
    "facenet": {"weights": "random"},
    "image-encoder": {"model": "random"},
    "speech-encoder": {"model": "random"},
}
# Seconds of something that make a valid row, by the name of the extractor for which two are too few.
ENOUGH_S = {"eeg-connectivity": 6.0, "physio": 12.0}
NOTHING_IS_VALID = {"sound": True, "faces": False, "signals": False, "table": False}  # silence is heard


def extracted(extractor: Extractor, folder: Path, seconds: float, is_something: bool = True) -> Frames:
    """What it makes of so many seconds of something, or of nothing."""
    if extractor.kind == "table":
        path = folder / f"{seconds}-{is_something}.csv"
        TABLES[extractor.spec.name](path, seconds, is_something)
        return extractor(str(path), 0.0)
    signal = GIVEN[extractor.kind](extractor.rate_hz, seconds, is_something)
    return extractor(signal, signal.rate_hz if isinstance(signal, Signals) else extractor.rate_hz)


def needs_torch(name: str) -> bool:
    """Whether the module imports torch or what brings it: it must not be imported to find out."""
    found = importlib.util.find_spec(extractors.EXTRACTORS[name].partition(":")[0])
    source = found.loader.get_source(None) if found else ""
    return bool(re.search(r"^ +(import|from) (torch|facenet_pytorch|transformers)", source, re.MULTILINE))


def marks(name: str) -> Any:
    """Those that look for faces take seconds for all that is asked of them here."""
    if needs_torch(name):
        return pytest.mark.torch
    return pytest.mark.slow if name in ("blendshapes", "frames") else ()


@pytest.fixture(params=[pytest.param(name, marks=marks(name)) for name in extractors.EXTRACTORS])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def asked(name: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    if name == "blendshapes":
        return {"model": str(request.getfixturevalue("landmarker_task"))}
    return SETTINGS.get(name, {})


@pytest.fixture
def extractor(name: str, asked: dict[str, Any]) -> Extractor:
    return extractors.build(name, **asked)


# ---------------------------------------------------------------------- what they promise


def assert_keeps_contract(frames: Frames, spec: FeatureSpec) -> None:
    values, valid = frames
    assert values.dtype == (np.float32 if spec.codec == "float32" else np.uint8)
    assert valid.dtype == np.bool_
    assert values.shape == (len(valid), *spec.shape)
    assert len(values) > 0
    assert np.isfinite(values).all()
    assert not values[~valid].any()


def test_frames_keep_the_contract(extractor: Extractor, tmp_path: Path) -> None:
    frames = extracted(extractor, tmp_path, ENOUGH_S.get(extractor.spec.name, 2.0))
    assert_keeps_contract(frames, extractor.spec)
    assert frames.valid.all()
    assert len(np.unique(frames.values)) >= min(10, frames.values.size)


@pytest.mark.slow
def test_the_number_of_frames_follows_from_the_spec(extractor: Extractor, tmp_path: Path) -> None:
    n_frames = len(extracted(extractor, tmp_path, 3.0).values)
    if extractor.spec.hop_s is None:
        assert n_frames == 1
    else:
        covered_s = 3.0 - 2 * extractor.spec.offset_s
        assert n_frames == pytest.approx(covered_s / extractor.spec.hop_s, abs=1.01)


@pytest.mark.slow
def test_twice_the_same_is_the_same_to_the_bit(
    extractor: Extractor, asked: dict[str, Any], name: str, tmp_path: Path
) -> None:
    again = extractors.build(name, **asked)
    assert again.spec == extractor.spec
    first, second = (extracted(e, tmp_path, ENOUGH_S.get(name, 1.5)) for e in (extractor, again))
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.valid, second.valid)


@pytest.mark.slow
def test_the_order_of_clips_does_not_matter(extractor: Extractor, tmp_path: Path) -> None:
    lengths_s = [1.2, 2.1, 0.4]
    forwards = [extracted(extractor, tmp_path, s).values for s in lengths_s]
    backwards = [extracted(extractor, tmp_path, s).values for s in lengths_s[::-1]]
    for one, other in zip(forwards, backwards[::-1]):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.7])
def test_short_clips_have_at_least_a_row(extractor: Extractor, tmp_path: Path, seconds: float) -> None:
    assert_keeps_contract(extracted(extractor, tmp_path, seconds), extractor.spec)


def test_nothing_to_hear_or_see_is_an_outcome(extractor: Extractor, tmp_path: Path) -> None:
    frames = extracted(extractor, tmp_path, ENOUGH_S.get(extractor.spec.name, 2.0), is_something=False)
    assert_keeps_contract(frames, extractor.spec)
    if extractor.kind in NOTHING_IS_VALID:
        assert set(frames.valid.tolist()) == {NOTHING_IS_VALID[extractor.kind]}


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


def test_its_settings_are_recorded_as_asked(name: str, asked: dict[str, Any]) -> None:
    recorded = json.loads(json.dumps(asdict(extractors.choose(name, **asked))))
    assert recorded.items() >= asked.items()
    assert extractors.build(name, **recorded).spec == extractors.build(name, **asked).spec


def test_random_weights_are_named(extractor: Extractor, asked: dict[str, Any]) -> None:
    """Reports warn of features whose spec says so (mien.results.report.caveats)."""
    if "random" in asked.values():
        assert extractor.spec.settings["weights"] == "random"


def test_another_setting_is_another_feature(name: str, asked: dict[str, Any]) -> None:
    """What changes the numbers changes the folder in the store."""
    usual = extractors.choose(name, **asked)
    for setting in fields(usual):
        value = getattr(usual, setting.name)
        if isinstance(value, int | float):
            other_value = not value if isinstance(value, bool) else type(value)(value / 2)
            other = replace(usual, **{setting.name: other_value})
            assert other.build().spec.folder != usual.build().spec.folder, setting.name


def test_unknown_settings_and_wrong_types_name_the_extractor_and_the_known_ones(name: str) -> None:
    known = [setting.name for setting in fields(extractors.settings_of(name))]
    with pytest.raises(ExperimentError, match=f"{name}.*'loudness'") as error:
        extractors.build(name, loudness=11)
    assert all(setting in str(error.value) for setting in known)
    for setting in known:
        with pytest.raises(ExperimentError, match=f"{name}.*{setting}") as error:
            extractors.build(name, **{setting: {"no such": "thing"}})
        assert all(setting in str(error.value) for setting in known)


def test_an_extractor_can_be_sent_to_a_worker(extractor: Extractor, tmp_path: Path) -> None:
    sent = pickle.loads(pickle.dumps(extractor))
    np.testing.assert_array_equal(extracted(sent, tmp_path, 1.0).values, extracted(extractor, tmp_path, 1.0).values)


def test_it_leaves_what_it_was_given_as_it_was(extractor: Extractor, tmp_path: Path) -> None:
    """Several extractors share one signal, whose arrays are read-only."""
    if extractor.kind == "table":
        return
    signal = GIVEN[extractor.kind](extractor.rate_hz, 1.0, True)
    for array in arrays_in(signal):
        array.flags.writeable = False
    extractor(signal, signal.rate_hz if isinstance(signal, Signals) else extractor.rate_hz)


def arrays_in(signal: Any) -> Iterator[NDArray[Any]]:
    if isinstance(signal, np.ndarray):
        yield signal
    elif isinstance(signal, tuple | list):
        for part in signal:
            yield from arrays_in(part)


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
