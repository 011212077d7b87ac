"""FaceNet features: the face that MTCNN would find, the network's own numbers, and weights from anywhere."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

from mien.errors import ExperimentError, MienError

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="needs torch")

from facenet_pytorch import MTCNN, InceptionResnetV1, extract_face, fixed_image_standardization  # noqa: E402

from mien.features.extractors import facenet as face  # noqa: E402
from mien.features.extractors.weights import read_weights  # noqa: E402

RATE_HZ = 10.0
FACE = astronaut()[:260, 80:380]
Picture = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def scene(*faces: tuple[int, int, float], height: int = 360, width: int = 640) -> Picture:
    """A grey wall with the portrait at (left, top), its size times a factor, for each of faces."""
    picture = Image.new("RGB", (width, height), (128, 128, 128))
    for left, top, factor in faces:
        size = (round(FACE.shape[1] * factor), round(FACE.shape[0] * factor))
        picture.paste(Image.fromarray(FACE).resize(size), (left, top))
    return np.asarray(picture)


def centres(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict as it is published: with the classifier of the identities that it was trained on."""
    torch.manual_seed(7)
    network = InceptionResnetV1(classify=True, num_classes=10)
    path = tmp_path_factory.mktemp("weights") / "published.pt"
    torch.save(network.state_dict(), path)
    return path


# ------------------------------------------------------------------ tracking
def test_a_moving_face_is_followed_between_detections(monkeypatch: pytest.MonkeyPatch) -> None:
    detections = []
    detect = face.detect
    monkeypatch.setattr(face, "detect", lambda *given: detections.append(1) or detect(*given))
    film = [scene((20 + 8 * k, 60 + 2 * k, 0.8)) for k in range(25)]
    boxes, valid = face.track_faces(film, RATE_HZ)
    assert valid.all()
    assert len(detections) <= 4  # 2.4 s at one a second, and one for doubt
    np.testing.assert_allclose(np.diff(centres(boxes), axis=0).mean(axis=0), [8, 2], atol=0.3)
    reference = MTCNN()
    found = np.array([reference.detect(Image.fromarray(picture))[0][0] for picture in film], np.float32)
    assert face.iou(boxes, found).min() > 0.75


def test_a_face_that_leaves_is_lost_and_found_again() -> None:
    here, gone = scene((100, 50, 0.8)), scene()
    film = [here] * 7 + [gone] * 6 + [here] * 6
    _, valid = face.track_faces(film, RATE_HZ)
    assert valid[:7].all()
    assert not valid[7:13].any()
    assert valid[14:].all()  # at most 0.2 s late


def test_of_two_faces_the_larger_and_no_jumping() -> None:
    film = [scene((20, 40, 0.7), (330, 40, 0.95 + 0.05 * (k % 2))) for k in range(12)]
    boxes, valid = face.track_faces(film, RATE_HZ, detect_every_s=0.1)
    assert valid.all()
    assert (centres(boxes)[:, 0] > 320).all()


def test_the_face_that_was_there_is_kept_until_one_is_much_larger() -> None:
    alone, joined = scene((20, 40, 0.7)), scene((20, 40, 0.7), (330, 40, 0.8))
    boxes, _ = face.track_faces([alone] * 3 + [joined] * 12, RATE_HZ, detect_every_s=0.2)
    assert (centres(boxes)[:, 0] < 320).all()
    close_up = scene((20, 40, 0.55), (250, 20, 1.2))
    boxes, _ = face.track_faces([scene((20, 40, 0.55))] * 3 + [close_up] * 6, RATE_HZ, detect_every_s=0.2)
    assert (centres(boxes)[-3:, 0] > 320).all()


@pytest.mark.parametrize("size", [(12, 12), (30, 200), (200, 30)])
def test_tiny_and_narrow_pictures_have_no_face(size: tuple[int, int]) -> None:
    boxes, valid = face.track_faces([np.zeros((*size, 3), np.uint8)] * 3, RATE_HZ)
    assert boxes.shape == (3, 4)
    assert not valid.any()


def test_real_faces_agree_with_the_detector_on_each_full_frame(real_data: Path) -> None:
    reference = MTCNN()
    overlaps: list[float] = []
    for name in ("WolfgangLanger_Pexels.mp4", "face_noface.mov", "no_face.mp4"):
        film = list(seen(real_data / "faces" / name, 5.0))[:40]
        boxes, valid = face.track_faces(film, 5.0)
        found = [reference.detect(Image.fromarray(picture))[0] for picture in film]
        assert valid.tolist() == [box is not None for box in found]
        both = [(box, f[0].astype(np.float32)) for box, f in zip(boxes, found) if f is not None]
        overlaps += [float(face.iou(box[None], other)[0]) for box, other in both]
    assert len(overlaps) > 40
    assert np.mean(np.array(overlaps) > 0.7) > 0.95
    assert np.median(overlaps) > 0.85


# ------------------------------------------------------------------ embedding
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_the_description_is_that_of_facenet_pytorch(weights_file: Path, precision: str, tolerance: float) -> None:
    """Folded, laid out and batched, the network gives what it gives to one crop at a time."""
    film = [scene((40 + 20 * k, 60, 0.8)) for k in range(3)]
    frames = face.facenet(RATE_HZ, str(weights_file), precision=precision)(film, RATE_HZ)
    boxes, valid = face.track_faces(film, RATE_HZ)
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
    extractor = face.facenet(RATE_HZ, "random")
    film = [scene((40 + 5 * k, 60, 0.8)) for k in range(19)]
    whole = extractor(film, RATE_HZ).values
    np.testing.assert_array_equal(extractor(film[:5], RATE_HZ).values, whole[:5])


def test_frames_without_a_face_are_masked_and_kept() -> None:
    gone, here = scene(), scene((100, 50, 0.8))
    frames = face.facenet(RATE_HZ, "random")([gone] * 4 + [here] * 3 + [gone] * 2, RATE_HZ)
    assert frames.valid.tolist() == [False] * 4 + [True] * 3 + [False] * 2
    np.testing.assert_array_equal(np.linalg.norm(frames.values, axis=1) > 0.5, frames.valid)


def test_the_real_face_that_leaves_and_the_film_without_one(real_data: Path) -> None:
    extractor = face.facenet(RATE_HZ, "random")
    for name, n_frames, n_faces in [("face_noface.mov", 64, 24), ("no_face.mp4", 41, 0)]:
        frames = extractor(seen(real_data / "faces" / name, RATE_HZ), RATE_HZ)
        assert frames.values.shape == (n_frames, 512)
        assert frames.valid.sum() == n_faces


def test_pictures_at_another_rate_are_refused() -> None:
    with pytest.raises(ValueError, match="10 Hz"):
        face.facenet(RATE_HZ, "random")([scene()], 25.0)


# ------------------------------------------------------------------ weights
def test_random_weights_are_seeded_and_named() -> None:
    one = face.load_network("random").state_dict()
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    other = face.load_network("random").state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert face.facenet(weights="random").spec.settings["weights"] == "random"


def test_a_weights_file_is_recorded_by_its_sum(weights_file: Path) -> None:
    expected = hashlib.sha256(weights_file.read_bytes()).hexdigest()
    for location in (str(weights_file), weights_file.as_uri()):
        extractor = face.facenet(weights=location, sha256=expected)
        assert extractor.spec.settings["weights"] == expected


def test_another_file_than_the_one_asked_for(weights_file: Path) -> None:
    with pytest.raises(MienError, match=r"SHA-256 is .* expected 0000") as error:
        face.facenet(weights=str(weights_file), sha256="0" * 64)
    assert "--facenet-weights" in str(error.value)


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"conv.weight": torch.zeros(3)}, path)
    (tmp_path / "b.pt").write_bytes(b"hi\n")
    for weights in (path, tmp_path / "b.pt"):
        with pytest.raises(MienError, match="not a state dict of InceptionResnetV1; give them with --facenet-weights"):
            face.facenet(RATE_HZ, str(weights))


def test_missing_weights_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MienError, match="--facenet-weights FILE"):
        face.facenet(weights=str(tmp_path / "gone.pt"))
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(face, "PUBLISHED_URL", "http://127.0.0.1:9/20180402-114759-vggface2.pt")  # nobody there
    with pytest.raises(MienError, match=r"no download .*--facenet-weights FILE"):
        face.facenet()


def test_the_published_file_is_checked_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "20180402-114759-vggface2.pt").write_bytes(b"half a download")
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
    with pytest.raises(MienError, match=f"expected {face.PUBLISHED_SHA256}"):
        face.facenet()


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
    with pytest.raises(ExperimentError, match="facenet"):
        face.facenet(**{"weights": "random", **settings})
