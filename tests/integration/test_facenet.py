"""FaceNet features: the network's own numbers of the face that is followed, and weights from anywhere."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.corpora.clip import Medium
from mien.errors import ExperimentError, MienError
from mien.features import extractors, media
from mien.features.extractors import facenet as face
from mien.features.extractors.face_track import track_faces
from mien.features.extractors.weights import read_weights
from mien.features.spec import Extractor, Frames
from tiny_faces import one_torch_thread, scene

pytestmark = pytest.mark.torch

RATE_HZ = 10.0


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict as it is published: with the classifier of the identities that it was trained on."""
    import torch
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(7)
    network = InceptionResnetV1(classify=True, num_classes=10)
    path = tmp_path_factory.mktemp("weights") / "published.pt"
    torch.save(network.state_dict(), path)
    return path


def facenet(weights: str = "random", **settings: object) -> Extractor:
    return extractors.build("facenet", weights=weights, **settings)


def described(extractor: Extractor, film: list[np.ndarray]) -> Frames:
    """What it says of pictures at the rate of the track."""
    boxes, valid = track_faces(film)
    return extractor([(picture, box if seen else None) for picture, box, seen in zip(film, boxes, valid)], RATE_HZ)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_the_description_is_that_of_facenet_pytorch(weights_file: Path, precision: str, tolerance: float) -> None:
    """Folded, laid out and batched, the network gives what it gives to one crop at a time."""
    import torch
    from facenet_pytorch import InceptionResnetV1, extract_face, fixed_image_standardization

    film = [scene((40 + 20 * k, 60, 0.8)) for k in range(3)]
    frames = described(facenet(str(weights_file), precision=precision), film)
    boxes, valid = track_faces(film)
    assert valid.all()
    network = InceptionResnetV1(classify=False).eval()
    state = torch.load(weights_file, weights_only=True)
    network.load_state_dict({k: v for k, v in state.items() if not k.startswith("logits")})
    for picture, box, row in zip(film, boxes, frames.values):
        crop = fixed_image_standardization(extract_face(Image.fromarray(picture), box))
        with torch.inference_mode():
            expected = network(crop[None]).numpy()[0]
        assert np.linalg.norm(row - expected) < tolerance
        assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)


def test_a_face_gets_the_same_numbers_in_any_batch() -> None:
    film = [scene((40 + 5 * k, 60, 0.8)) for k in range(19)]
    whole = described(facenet(), film).values
    np.testing.assert_array_equal(described(facenet(), film[:5]).values, whole[:5])


def test_frames_without_a_face_are_masked_and_kept() -> None:
    gone, here = scene(), scene((100, 50, 0.8))
    frames = described(facenet(), [gone] * 4 + [here] * 3 + [gone] * 2)
    assert frames.valid.tolist() == [False] * 4 + [True] * 3 + [False] * 2
    np.testing.assert_array_equal(np.linalg.norm(frames.values, axis=1) > 0.5, frames.valid)


def test_the_real_face_that_leaves_and_the_film_without_one(real_data: Path) -> None:
    for name, n_frames, n_faces in [("face_noface.mov", 64, 24), ("no_face.mp4", 41, 0)]:
        frames = facenet()(media.decode("faces", Medium(path=str(real_data / "faces" / name)), RATE_HZ), RATE_HZ)
        assert frames.values.shape == (n_frames, 512)
        assert frames.valid.sum() == n_faces


def test_faces_at_another_rate_are_refused() -> None:
    with pytest.raises(ValueError, match="10 Hz"):
        facenet()([(scene(), None)], 25.0)


def test_random_weights_are_seeded_and_named() -> None:
    import torch

    one = face.load_network("random").state_dict()
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    other = face.load_network("random").state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert facenet().spec.settings["weights"] == "random"


def test_a_weights_file_is_recorded_by_its_sum(weights_file: Path) -> None:
    expected = hashlib.sha256(weights_file.read_bytes()).hexdigest()
    for location in (str(weights_file), weights_file.as_uri()):
        extractor = facenet(location, sha256=expected)
        assert extractor.spec.settings["weights"] == expected


def test_another_file_than_the_one_asked_for(weights_file: Path) -> None:
    with pytest.raises(MienError, match=r"SHA-256 is .* expected 0000") as error:
        facenet(str(weights_file), sha256="0" * 64)
    assert "set weights to a file" in str(error.value)


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "a.pt"
    torch.save({"conv.weight": torch.zeros(3)}, path)
    (tmp_path / "b.pt").write_bytes(b"hi\n")
    for weights in (path, tmp_path / "b.pt"):
        with pytest.raises(MienError, match="not a state dict of InceptionResnetV1; set weights to a file"):
            facenet(str(weights))


def test_missing_weights_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MienError, match="set weights to a file"):
        facenet(str(tmp_path / "gone.pt"))
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(face, "PUBLISHED_URL", "http://127.0.0.1:9/20180402-114759-vggface2.pt")  # nobody there
    with pytest.raises(MienError, match=r"no download .*set weights to a file"):
        extractors.build("facenet")


def test_the_published_file_is_checked_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "20180402-114759-vggface2.pt").write_bytes(b"half a download")
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
    with pytest.raises(MienError, match=f"expected {face.PUBLISHED_SHA256}"):
        extractors.build("facenet")


def test_weights_from_the_web_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "net.pt").write_bytes(b"weights")
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path / "kept"))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "web")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/net.pt"
        assert read_weights(url)[0] == b"weights"
        with pytest.raises(MienError, match="no download"):
            read_weights(url.replace("net", "other"))
        server.shutdown()
    assert read_weights(url)[0] == b"weights"
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["net.pt"]


@pytest.mark.parametrize(
    "settings", [{"rate_hz": 0}, {"detect_every_s": 0}, {"detect_height_px": 20}, {"precision": "int8"}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ExperimentError, match=f"facenet.*{next(iter(settings))}"):
        facenet(**settings)
