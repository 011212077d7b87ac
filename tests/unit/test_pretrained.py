"""Networks of transformers: found anywhere, taken as a whole or not at all, whichever extractor asks for them."""

from __future__ import annotations

import hashlib
import http.server
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import ExperimentError, MienError
from mien.features import extractors
from mien.features.spec import Extractor
from mien.folder import Folder
from tiny_faces import FACE, one_torch_thread
from tiny_media import voice
from tiny_networks import write_vit, write_wav2vec2

pytestmark = pytest.mark.torch

WEIGHTS = "model.safetensors"
COMMIT = "a" * 40


class Reader(NamedTuple):
    """An extractor that reads such networks. usual: the model that it takes where none is named."""

    name: str
    usual: str
    write: Callable[..., Path]
    signal: Any
    rate_hz: float

    def build(self, model: Path | str, **settings: Any) -> Extractor:
        return extractors.build(self.name, model=str(model), **settings)

    def numbers(self, model: Path | str, **settings: Any) -> NDArray[np.float32]:
        return self.build(model, **settings)(self.signal, self.rate_hz).values


BOX = np.array([70.0, 40.0, 190.0, 190.0], np.float32)
READERS = (
    Reader("speech-encoder", "facebook/wav2vec2-base-960h", write_wav2vec2, voice(0.2), 16_000),
    Reader("image-encoder", "facebook/dinov2-small", write_vit, [(FACE, BOX)], 5.0),
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module", params=READERS, ids=lambda reader: reader.name)
def reader(request: pytest.FixtureRequest) -> Reader:
    return request.param


@pytest.fixture(scope="module")
def whole(reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reader.write(tmp_path_factory.mktemp("networks") / reader.name)


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sum_of_several(folder: Path, *names: str) -> str:
    """As `sha256sum NAMES | sha256sum` has it."""
    return hashlib.sha256("".join(f"{sum_of(folder / name)}  {name}\n" for name in names).encode()).hexdigest()


# ---------------------------------------------------------------------- which network


def test_a_network_is_recorded_by_its_sums(reader: Reader, model: Path) -> None:
    spec = reader.build(model).spec
    assert spec.settings["weights"] == sum_of(model / WEIGHTS)
    assert spec.settings["config"] == sum_of_several(model, "config.json", "preprocessor_config.json")
    assert reader.build(model.as_uri(), sha256=sum_of(model / WEIGHTS).upper()).spec == spec
    config = json.loads((model / "preprocessor_config.json").read_text())
    (model / "preprocessor_config.json").write_text(json.dumps({**config, "of": "another recipe"}))
    assert reader.build(model).spec.folder != spec.folder


def test_another_network_than_was_asked_for_is_refused(reader: Reader, whole: Path) -> None:
    with pytest.raises(MienError, match=f"SHA-256 of its weights is {sum_of(whole / WEIGHTS)}, expected 0000"):
        reader.build(whole, sha256="0" * 64)


def test_other_weights_in_the_same_place_are_read_anew(reader: Reader, model: Path) -> None:
    before = reader.build(model).spec.folder, reader.numbers(model)
    reader.write(model, seed=8)
    assert reader.build(model).spec.folder != before[0]
    assert np.abs(reader.numbers(model) - before[1]).max() > 0.01


def test_weights_may_lie_in_several_files(reader: Reader, whole: Path, tmp_path: Path) -> None:
    model = reader.write(tmp_path, shard="40kB")
    shards = sorted(path.name for path in model.glob("model-*"))
    assert len(shards) > 1 and not (model / WEIGHTS).exists()
    np.testing.assert_array_equal(reader.numbers(model), reader.numbers(whole))
    weights = sum_of_several(model, *shards)
    (model / "model-00001-of-00099.safetensors").write_bytes(b"left by somebody, and in no index")
    assert reader.build(model, sha256=weights).spec.settings["weights"] == weights
    (model / shards[1]).unlink()
    with pytest.raises(MienError, match=f"there is no {shards[1]} in it; give model a folder"):
        reader.build(model)


def test_random_weights_and_what_is_loaded_leave_the_draws_of_torch_alone(reader: Reader, whole: Path) -> None:
    import torch

    for model in ("random", whole):
        torch.manual_seed(99)
        state = torch.random.get_rng_state()
        assert np.isfinite(reader.numbers(model)).all()
        assert torch.equal(torch.random.get_rng_state(), state)


# ---------------------------------------------------------------------- what is refused


def refusal(reader: Reader, model: Path | str, message: str, **settings: Any) -> None:
    """One sentence, which names the model and what to do."""
    with pytest.raises(MienError, match=message) as error:
        reader.build(model, **settings)
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(f"model {model}: ")
    assert said.endswith('or try things out with model "random"')


def test_lacking_and_damaged_weights_are_refused(reader: Reader, model: Path) -> None:
    """transformers would fill in at random what lacks."""
    from safetensors.numpy import load_file, save_file

    path = model / WEIGHTS
    weights, whole = load_file(path), path.read_bytes()
    lacking = next(name for name in weights if "attention" in name)
    shape = weights.pop(lacking).shape
    save_file(weights, path, {"format": "pt"})
    refusal(reader, model, r"lack 1 weights of it, such as \S+attention\S+, which would be random")
    save_file({**weights, lacking: np.zeros([n + 1 for n in shape], np.float32)}, path, {"format": "pt"})
    refusal(reader, model, "its weights cannot be read")
    for data in (whole[: len(whole) // 2], b"hi\n"):
        path.write_bytes(data)
        refusal(reader, model, "its weights cannot be read")


def test_a_pickle_is_not_read(reader: Reader, model: Path) -> None:
    import torch

    (model / WEIGHTS).unlink()
    torch.save({}, model / "pytorch_model.bin")
    refusal(reader, model, r"there is no model\.safetensors in it; mien reads no pickles.*AutoModel.*save_pretrained")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_file_is_refused(reader: Reader, model: Path, name: str) -> None:
    (model / name).write_text("{")
    refusal(reader, model, "cannot be used")
    (model / name).unlink()
    refusal(reader, model, f"there is no {name} in it")


def test_a_network_of_another_kind_is_refused(reader: Reader, tmp_path: Path) -> None:
    (other,) = (one for one in READERS if one is not reader)
    refusal(reader, other.write(tmp_path), "cannot be used")


def test_no_such_folder(reader: Reader, tmp_path: Path) -> None:
    for model in (tmp_path / "gone", "../gone", "gone"):
        refusal(reader, model, "gone: there is no such folder")


def test_a_folder_has_no_revision(reader: Reader, whole: Path) -> None:
    with pytest.raises(ExperimentError, match=f"{reader.name}.*revision v2: .* not a name on the hub; leave"):
        reader.build(whole, revision="v2")


def test_nothing_is_printed_of_a_head_that_is_not_needed(reader: Reader, model: Path) -> None:
    from safetensors.numpy import load_file, save_file

    before = reader.numbers(model)
    weights = load_file(model / WEIGHTS)
    save_file({**weights, "head.weight": np.zeros((32, 32), np.float32)}, model / WEIGHTS, {"format": "pt"})
    printed: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = printed.append  # type: ignore[method-assign]
    logging.getLogger("transformers").addHandler(handler)
    np.testing.assert_array_equal(reader.numbers(model), before)
    logging.getLogger("transformers").removeHandler(handler)
    assert [record.getMessage() for record in printed] == []


# ---------------------------------------------------------------------- hub and buckets


class Hub(http.server.SimpleHTTPRequestHandler):
    """What the Hugging Face hub answers to who asks for the network lab/tiny, of one commit, or for a file of it."""

    def do_HEAD(self) -> None:
        """Of /api/models/<id>/revision/<revision>, /api/models/<id>/tree/<commit> and /<id>/resolve/<commit>/<file>."""
        folder, parts = Path(self.directory), self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            *name, what, _ = parts[2:]
            tree = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0"} for p in folder.iterdir()]
            data = json.dumps(tree if what == "tree" else {"id": "lab/tiny", "sha": COMMIT}).encode()
        else:
            name, data = parts[:2], (folder / parts[-1]).read_bytes()
        if name != ["lab", "tiny"]:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_GET = do_HEAD

    def log_message(self, *_: object) -> None:
        pass


def ask_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of lab/tiny on a hub on this machine; what is fetched is kept in the folder "cache" beside it."""
    from huggingface_hub import constants

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, directory=str(model)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    ask_at(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield model
    server.shutdown()
    server.server_close()


def test_a_network_on_the_hub_is_fetched_once(hub: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    (hub / "pytorch_model.bin").write_bytes(b"a pickle, which could run anything")
    expected = reader.build(hub).spec
    assert reader.build("lab/tiny").spec == expected
    assert not list(hub.parent.rglob("cache/**/*.bin"))
    ask_at("http://127.0.0.1:9", monkeypatch)  # nobody there
    assert reader.build("lab/tiny").spec == reader.build("lab/tiny", revision=COMMIT).spec == expected
    np.testing.assert_array_equal(reader.numbers("lab/tiny"), reader.numbers(hub))


def test_what_was_fetched_in_part_is_fetched_as_a_whole(hub: Path, reader: Reader, tmp_path: Path) -> None:
    """Another program, which needed no more of it: nothing here tells what the hub has."""
    expected = reader.build("lab/tiny").spec
    (repository,) = (tmp_path / "cache").glob("models--*")
    (repository / "snapshots" / COMMIT / "preprocessor_config.json").unlink()
    shutil.rmtree(repository / "trees")
    assert reader.build("lab/tiny").spec == expected


def test_a_network_on_the_hub_without_safetensors_or_that_is_not_there(hub: Path, reader: Reader) -> None:
    (hub / WEIGHTS).unlink()
    refusal(reader, "lab/tiny", "there is no model.safetensors in it; mien reads no pickles")
    refusal(reader, "lab/other", "no such folder here, and not to be had from the hub")


def test_without_the_internet(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual model, of which nothing is here."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    refusal(reader, extractors.settings_of(reader.name)().model, f"{reader.usual}: no such folder here, and not to be")


@pytest.mark.slow
def test_a_network_in_a_bucket(
    s3: str, reader: Reader, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path / "weights"))
    bucket = Folder(f"{s3}/{reader.name}")
    for path in model.iterdir():
        bucket.write_bytes(path.name, path.read_bytes())
    bucket.write_bytes("checkpoint/optimizer.bin", b"which nobody needs")
    assert reader.build(bucket.uri).spec == reader.build(model).spec
    assert len([path for path in (tmp_path / "weights").rglob("*") if path.is_file()]) == 3
    time.sleep(1.1)  # S3 tells times by the second
    reader.write(model, seed=9)
    bucket.write_bytes(WEIGHTS, (model / WEIGHTS).read_bytes())
    assert reader.build(bucket.uri).spec == reader.build(model).spec  # and not what was there before
    bucket.remove("config.json")
    refusal(reader, bucket.uri, "there is no config.json in it")
    bucket.write_bytes("config.json", (model / "config.json").read_bytes())
    monkeypatch.setenv("MIEN_WEIGHTS", f"{s3}/weights")
    refusal(reader, bucket.uri, "set MIEN_WEIGHTS to a folder of this machine")
