"""Speech encoders: the hidden states that transformers gives, of whole and of long clips, and models from anywhere."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import ExperimentError, MediaError, MienError
from mien.features import extractors
from mien.features.extractors.pooling import mean_rows
from mien.features.extractors.speech_encoder import TINY, Clock, described, stretches
from mien.features.spec import Extractor
from mien.folder import Folder
from tiny_faces import one_torch_thread
from tiny_media import voice

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


def write_model(folder: Path, kind: str, seed: int = 7) -> Path:
    """A small model with random weights, written as published ones are."""
    import torch
    from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

    settings = dict(KINDS[kind])
    do_normalize = settings.pop("do_normalize")
    torch.manual_seed(seed)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **TINY, **settings))
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(folder)
    return folder


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
    assert described(str(models["wavlm"]))[1].n_frames(n_samples) == expected
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


def test_random_weights_are_seeded_and_named() -> None:
    import torch

    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    extractor = encoder()
    first = extractor(voice(1.0), RATE_HZ).values
    assert extractor.spec.settings["weights"] == "random"
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.isfinite(first).all()


def test_a_model_is_recorded_by_its_sums(models: dict[str, Path]) -> None:
    expected = {
        key: hashlib.sha256((models["wavlm"] / name).read_bytes()).hexdigest()
        for key, name in [("weights", "model.safetensors"), ("config", "config.json")]
    }
    for location in (str(models["wavlm"]), models["wavlm"].as_uri()):
        settings = encoder(location, sha256=expected["weights"]).spec.settings
        assert settings.items() >= expected.items()
        assert settings["normalises"] is False
    with pytest.raises(MienError, match=r"SHA-256 of model.safetensors is .* expected 0000"):
        encoder(models["wavlm"], sha256="0" * 64)


def test_other_weights_in_the_same_place_are_read_anew(model: Path) -> None:
    first = encoder(model)
    before = first(voice(0.5), RATE_HZ).values
    write_model(model, "wav2vec2", seed=8)
    second = encoder(model)
    assert second.spec.folder != first.spec.folder
    assert np.abs(second(voice(0.5), RATE_HZ).values - before).max() > 0.01


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


def test_lacking_and_damaged_weights_are_refused(model: Path) -> None:
    from safetensors.numpy import load_file, save_file

    path = model / "model.safetensors"
    weights, whole = load_file(path), path.read_bytes()
    del weights["encoder.layers.1.attention.k_proj.weight"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(
        MienError, match=r"model.safetensors lacks encoder.layers.1.attention.k_proj.weight; give model"
    ):
        encoder(model)
    for data in (whole[: len(whole) // 2], b"hi\n"):
        path.write_bytes(data)
        with pytest.raises(MienError, match=r"model.safetensors does not fit .*give model a folder"):
            encoder(model)


def test_a_pickle_is_not_read(model: Path) -> None:
    import torch

    (model / "model.safetensors").unlink()
    torch.save({}, model / "pytorch_model.bin")
    with pytest.raises(MienError, match=r"there is no model.safetensors in it; mien reads no pickles.*save_pretrained"):
        encoder(model)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_file_is_refused(model: Path, name: str) -> None:
    (model / name).write_text("{")
    with pytest.raises(MienError, match="cannot be used"):
        encoder(model)
    (model / name).unlink()
    with pytest.raises(MienError, match=f"there is no {name} in it; give model a folder"):
        encoder(model)


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


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(MienError, match=r"gone: there is no such folder; give model a folder .* or try things out"):
        encoder(tmp_path / "gone")


# ---------------------------------------------------------------------- hub and buckets


class Hub(http.server.SimpleHTTPRequestHandler):
    """What the Hugging Face hub answers to who asks for a file of the model lab/voice."""

    def do_HEAD(self) -> None:
        _, account, model, _, _, name = self.path.split("/")
        path = Path(self.directory) / name
        if (account, model) != ("lab", "voice") or not path.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if model == "voice" else "RepoNotFound")
            self.send_header("X-Repo-Commit", "a" * 40)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(path.read_bytes()).hexdigest()}"')
        self.send_header("Content-Length", str(path.stat().st_size))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(path.read_bytes())

    do_GET = do_HEAD

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of lab/voice on a hub on this machine."""
    from huggingface_hub import constants

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, directory=str(model)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield model
    server.shutdown()
    server.server_close()


def test_a_model_on_the_hub_is_fetched_once(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    expected = encoder(hub)
    assert encoder("lab/voice").spec == expected.spec
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody there
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    again = encoder("lab/voice")
    np.testing.assert_array_equal(again(voice(0.5), RATE_HZ).values, expected(voice(0.5), RATE_HZ).values)


def test_a_model_on_the_hub_without_safetensors_or_that_is_not_there(hub: Path) -> None:
    (hub / "model.safetensors").unlink()
    with pytest.raises(MienError, match=r"lab/voice: .*not to be had from the hub .*mien reads no pickles"):
        encoder("lab/voice")
    with pytest.raises(MienError, match=r"lab/other: no such folder here, and not to be had from the hub .*give model"):
        encoder("lab/other")


def test_without_the_internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual model, of which nothing is here."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MienError, match=r"facebook/wav2vec2-base-960h: no such folder here.*give model a folder"):
        extractors.build("speech-encoder")


def test_a_model_in_a_bucket(s3: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path / "weights"))
    bucket = Folder(f"{s3}/voice")
    for path in model.iterdir():
        bucket.write_bytes(path.name, path.read_bytes())
    assert encoder(bucket.uri).spec == encoder(model).spec
    time.sleep(1.1)  # S3 tells times by the second
    write_model(model, "wav2vec2", seed=9)
    bucket.write_bytes("model.safetensors", (model / "model.safetensors").read_bytes())
    assert encoder(bucket.uri).spec == encoder(model).spec  # and not what was there before
    bucket.remove("config.json")
    with pytest.raises(MienError, match=r"voice: there is no config.json in it"):
        encoder(bucket.uri)


def test_the_clock_of_a_base_model() -> None:
    assert described("random")[1] == Clock(320, 400)
