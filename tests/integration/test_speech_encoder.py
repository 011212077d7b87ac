"""Speech encoders: the hidden states that transformers gives, of whole and of long clips."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import ExperimentError, MediaError, MienError
from mien.features import extractors
from mien.features.extractors.pooling import mean_rows
from mien.features.extractors.pretrained import find_pretrained
from mien.features.extractors.speech_encoder import TINY, Clock, described, stretches
from mien.features.spec import Extractor
from tiny_faces import one_torch_thread
from tiny_media import voice
from tiny_networks import write_network

pytestmark = pytest.mark.torch

RATE_HZ = 16_000
# As the published ones are: the base models of wav2vec 2.0 and HuBERT have a group norm over time and no mask, the large
# ones a layer norm; WavLM is given sound as it is.
KINDS: dict[str, dict[str, Any]] = {
    "wavlm": {"do_normalize": False},
    "hubert": {"do_normalize": True},
    "wav2vec2": {"do_normalize": True, "feat_extract_norm": "layer", "do_stable_layer_norm": True},
    "data2vec-audio": {"do_normalize": True},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


def write_model(folder: Path, kind: str) -> Path:
    """A small model with random weights, written as published ones are."""
    from transformers import MODEL_MAPPING, AutoConfig, Wav2Vec2FeatureExtractor

    settings = dict(KINDS[kind])
    preprocessor = Wav2Vec2FeatureExtractor(do_normalize=settings.pop("do_normalize"))
    config = AutoConfig.for_model(kind, **TINY, **settings)
    return write_network(folder, MODEL_MAPPING[type(config)], config, preprocessor)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: write_model(root / kind, kind) for kind in KINDS}


@pytest.fixture
def model(models: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(models["wav2vec2"], tmp_path / "model"))


def encoder(model: Path | str = "random", **settings: Any) -> Extractor:
    return extractors.build("speech-encoder", model=str(model), **settings)


def by_transformers(folder: Path, sound: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """All hidden states, (T, D) each, by its own classes as its documentation has them."""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel

    inputs = AutoFeatureExtractor.from_pretrained(folder)(sound, sampling_rate=RATE_HZ, return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(inputs.input_values, output_hidden_states=True).hidden_states
    return [state[0].numpy() for state in states]


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_the_hidden_states_of_transformers(models: dict[str, Path], kind: str) -> None:
    sound = voice(1.3) + np.float32(0.01)  # with an offset, which normalising takes away
    states = by_transformers(models[kind], sound)
    assert len(states) == 3
    expected = {0: states[0], 1: states[1], 2: states[2], -1: states[2], "mean": np.mean(states, axis=0)}
    for layer, rows in expected.items():
        extractor = encoder(models[kind], layer=layer, hop_s=0.02)
        values = extractor(sound, RATE_HZ).values
        np.testing.assert_allclose(values, rows, atol=1e-5, err_msg=f"{layer}")
        assert extractor.spec.columns[0] == f"{kind.replace('-', '_')}_0000"
    assert np.abs(states[0] - states[2]).max() > 0.01  # the layers differ, or the above would say little


def test_a_row_is_the_mean_of_its_frames(models: dict[str, Path]) -> None:
    fine, coarse = (encoder(models["wavlm"], hop_s=hop_s)(voice(1.0), RATE_HZ).values for hop_s in (0.02, 0.1))
    assert (len(fine), len(coarse)) == (49, 9)
    np.testing.assert_allclose(coarse, mean_rows(fine, 5), atol=1e-6)


def test_a_clip_has_the_same_numbers_whatever_was_before_it(models: dict[str, Path]) -> None:
    extractor = encoder(models["hubert"])
    alone = extractor(voice(0.8), RATE_HZ).values
    for seconds in (2.0, 0.3):
        extractor(voice(seconds), RATE_HZ)
    np.testing.assert_array_equal(extractor(voice(0.8), RATE_HZ).values, alone)
    np.testing.assert_array_equal(encoder(models["hubert"])(voice(0.8), RATE_HZ).values, alone)


def test_bfloat16_is_near(models: dict[str, Path]) -> None:
    exact, rough = (encoder(models["wavlm"], precision=p)(voice(1.0), RATE_HZ).values for p in ("float32", "bfloat16"))
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()


# ---------------------------------------------------------------------- time


@pytest.mark.parametrize("n_samples", [400, 719, 720, 1600, 15_999, 16_000, 16_400])
def test_there_are_as_many_frames_as_transformers_counts(models: dict[str, Path], n_samples: int) -> None:
    from transformers import AutoModel

    expected = int(AutoModel.from_pretrained(models["wavlm"])._get_feat_extract_output_lengths(n_samples))
    assert described(find_pretrained(str(models["wavlm"])))[1].n_frames(n_samples) == expected
    frames = encoder(models["wavlm"], hop_s=0.02)(voice(2.0)[:n_samples], RATE_HZ)
    assert len(frames.values) == expected


def test_less_than_a_frame_is_a_reject() -> None:
    with pytest.raises(MediaError) as error:
        encoder()(voice(1.0)[:399], RATE_HZ)
    assert error.value.reason == "too-short"


def test_rows_stand_at_the_middle_of_the_sound_that_they_hear(models: dict[str, Path]) -> None:
    """A click changes what the convolutions give, and with them layer 0 (which positions spread by 8 frames a side):
    as much before as after it."""
    extractor = encoder(models["wav2vec2"], layer=0, hop_s=0.04)  # a layer norm: no frame knows the whole
    assert extractor.spec.offset_s == pytest.approx((0.025 + 0.02) / 2)
    sound = 0.01 * np.random.default_rng(0).normal(0, 1, 3 * RATE_HZ).astype(np.float32)
    clicked = sound.copy()
    clicked[round(1.5 * RATE_HZ) :][:16] += 0.05
    # Neither mean nor variance of the clip may move by much: both are normalised away.
    moved = np.abs(extractor(clicked, RATE_HZ).values - extractor(sound, RATE_HZ).values).max(axis=1)
    rows = np.flatnonzero(moved > moved.max() / 50)
    middle_s = (rows[0] + rows[-1]) / 2 * extractor.spec.hop_s + extractor.spec.offset_s
    assert middle_s == pytest.approx(1.5, abs=0.03)


@pytest.mark.parametrize(("n_frames", "window"), [(1, 50), (50, 50), (51, 50), (90, 50), (91, 50), (1000, 50)])
def test_each_frame_of_a_long_clip_is_kept_once_and_far_from_a_cut(n_frames: int, window: int) -> None:
    found = list(stretches(n_frames, window))
    kept = [frame for stretch in found for frame in range(stretch.keep, stretch.keep_end)]
    assert kept == list(range(n_frames))
    for stretch in found:
        assert stretch.end - stretch.first <= window
        assert stretch.first == 0 or stretch.keep - stretch.first >= window // 10
        assert stretch.end == n_frames or stretch.end - stretch.keep_end >= window // 10


def test_a_long_clip_is_encoded_in_windows(models: dict[str, Path]) -> None:
    """Each window is what transformers makes of it; all are normalised as one clip."""
    sound = voice(2.5)
    values = encoder(models["hubert"], hop_s=0.02, window_s=1.0, layer=-1)(sound, RATE_HZ).values
    assert len(values) == len(by_transformers(models["hubert"], sound)[0]) == 124
    normal = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    # 50 frames a window, 10 of them shared with the next: 0..50, 40..90, 80..124, kept up to 45, 85 and the end.
    raw = write_unnormalised(models["hubert"])
    for first, end, keep, keep_end in [(0, 50, 0, 45), (40, 90, 45, 85), (80, 124, 85, 124)]:
        part = normal[first * 320 : (end - 1) * 320 + 400 if end < 124 else None]
        expected = by_transformers(raw, part)[-1]
        np.testing.assert_allclose(values[keep:keep_end], expected[keep - first : keep_end - first], atol=1e-4)


def write_unnormalised(folder: Path) -> Path:
    """The same model, which takes sound as it is."""
    copy = folder.with_name("unnormalised")
    if not copy.exists():
        shutil.copytree(folder, copy)
        settings = json.loads((copy / "preprocessor_config.json").read_text())
        (copy / "preprocessor_config.json").write_text(json.dumps({**settings, "do_normalize": False}))
    return copy


def test_a_model_of_another_rate_says_so(model: Path) -> None:
    settings = json.loads((model / "preprocessor_config.json").read_text())
    (model / "preprocessor_config.json").write_text(json.dumps({**settings, "sampling_rate": 8000}))
    extractor = encoder(model, hop_s=0.08)
    assert extractor.rate_hz == 8000
    assert len(extractor(voice(1.0, 8000), 8000).values) == 12  # of 24 frames, one every 0.04 s
    with pytest.raises(ValueError, match="8000 Hz, not 16000 Hz"):
        extractor(voice(1.0), RATE_HZ)


# ---------------------------------------------------------------------- models


def test_the_last_layer_has_one_name() -> None:
    assert encoder(layer=-1).spec == encoder(layer=2).spec


def test_a_fine_tuned_model_gives_what_is_below_its_head(model: Path) -> None:
    """Files of recognisers have a head on top and lack what only pre-training uses."""
    from safetensors.numpy import load_file, save_file

    before = encoder(model)(voice(0.5), RATE_HZ).values
    weights = {f"wav2vec2.{key}": value for key, value in load_file(model / "model.safetensors").items()}
    del weights["wav2vec2.masked_spec_embed"]
    weights["lm_head.weight"] = np.zeros((32, 32), np.float32)
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    np.testing.assert_array_equal(encoder(model)(voice(0.5), RATE_HZ).values, before)


def test_another_kind_of_model_is_refused(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "model_type": "whisper"}))
    with pytest.raises(MienError, match="a whisper and none of wav2vec2, hubert, wavlm, data2vec-audio"):
        encoder(model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": 3}, r"layer 3: this model has 0\.\.2, or mean"),
        ({"layer": -4}, "layer -4"),
        ({"layer": "last"}, "layer is 'last'"),
        ({"hop_s": 0.03}, "hop_s 0.03: use a multiple of 0.02 s, which is the step of this model"),
        ({"window_s": 0.5}, "window_s 0.5: must be at least 1"),
        ({"precision": "float16"}, "precision is 'float16'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=f"speech-encoder.*{message}"):
        encoder(**settings)


def test_the_clock_of_a_base_model() -> None:
    assert described(find_pretrained("random"))[1] == Clock(320, 400)
