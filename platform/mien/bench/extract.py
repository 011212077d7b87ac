"""Extraction beside plain loops: openSMILE windows and faces, on one core, in this process.

Each loop does the whole work from the file, decoding included, one file after the other. Models are built and
warmed before the clock starts. What Ray costs and multiplies is for the caller to measure, around
`mien.features.prepare`, against the seconds of these loops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from mien.corpora.clip import Medium
from mien.errors import MienError
from mien.features.extractors import build
from mien.features.media import decode
from mien.features.prepare.tasks import ClipTask
from mien.features.prepare.worker import BatchExtractor, Feature
from mien.features.recipe import ExtractorRecipe
from mien.features.store import FeatureStore

RATE_HZ = 16_000
WINDOW_S = 1.0
HOP_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What a loop did. n_frames: rows of features, of faces with or without a face in them."""

    n_files: int
    n_frames: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """mien's face track beside MTCNN on each full frame.

    same_presence: share of frames in which both see a face or both see none. iou: intersection over union of
    the boxes where both see one, (N,).
    """

    n_frames: int
    same_presence: float
    iou: NDArray[np.float32]


def plain_window_loop(paths: Sequence[str]) -> Timing:
    """openSMILE's Python interface, called once per window."""
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    window, hop = round(WINDOW_S * RATE_HZ), round(HOP_S * RATE_HZ)

    def extract(path: str) -> int:
        sound = decode("sound", Medium(path=path), RATE_HZ)
        starts = range(0, max(len(sound) - window, 0) + 1, hop)
        return len([smile.process_signal(sound[start : start + window], RATE_HZ) for start in starts])

    return _timed(paths, extract)


def one_pass_loop(paths: Sequence[str]) -> Timing:
    """mien's windows, in one pass a file."""
    extractor = build("egemaps", window_s=WINDOW_S, hop_s=HOP_S)
    return _timed(paths, lambda path: len(extractor(decode("sound", Medium(path=path), RATE_HZ), RATE_HZ).values))


def plain_face_loop(paths: Sequence[str], rate_hz: float) -> Timing:
    """facenet-pytorch as its README shows it: MTCNN on each full frame, then the network on its crop."""
    import torch
    from facenet_pytorch import MTCNN
    from PIL import Image

    from mien.features.extractors.facenet import load_network

    detector, network = MTCNN(), load_network("random").eval()

    def extract(path: str) -> int:
        n_frames = 0
        for picture in decode("pictures", Medium(path=path), rate_hz):
            n_frames += 1
            face = detector(Image.fromarray(picture))
            if face is not None:
                network(face[None])
        return n_frames

    with _one_thread(), torch.inference_mode():
        network(torch.zeros(1, 3, 160, 160))
        return _timed(paths, extract)


def mien_face_loop(paths: Sequence[str], rate_hz: float, precision: str = "float32") -> Timing:
    """mien's face features, with random weights: they cost what the published ones cost."""
    extractor = build("facenet", rate_hz=rate_hz, weights="random", precision=precision)

    def extract(path: str) -> int:
        return len(extractor(decode("faces", Medium(path=path), rate_hz), rate_hz).values)

    with _one_thread():
        extract(paths[0])
        return _timed(paths, extract)


def face_agreement(paths: Sequence[str]) -> Agreement:
    """How far mien's boxes are those that MTCNN finds on each full frame, the largest of each."""
    from facenet_pytorch import MTCNN
    from PIL import Image

    from mien.features.extractors.face_track import TRACK_HZ, iou, track_faces

    detector = MTCNN()
    same: list[bool] = []
    overlaps: list[float] = []
    with _one_thread():
        for path in paths:
            pictures = list(decode("pictures", Medium(path=path), TRACK_HZ))
            for picture, box, seen in zip(pictures, *track_faces(pictures)):
                found, _ = detector.detect(Image.fromarray(picture))
                same.append((found is not None) == seen)
                if found is not None and seen:
                    overlaps.append(float(iou(np.asarray(found[:1], np.float32), box)[0]))
    return Agreement(n_frames=len(same), same_presence=float(np.mean(same)), iou=np.array(overlaps, np.float32))


@dataclass(frozen=True, kw_only=True)
class SharedPass:
    """CPU seconds of one worker for the features of the same films: each alone, and all in one pass."""

    alone_s: dict[str, float]
    together_s: float

    @property
    def ratio(self) -> float:
        """Of all together to the dearest alone."""
        return self.together_s / max(self.alone_s.values())


def shared_pass(paths: Sequence[str], recipes: Sequence[ExtractorRecipe], rounds: int = 3) -> SharedPass:
    """What it costs to extract several features of films in one pass, from the file to the parts of a store.

    As `mien.features.prepare` has it done, by one worker in this process without Ray. All are warmed up before the
    clock starts, and take turns; the quickest round counts. In CPU seconds what else the machine does is not counted.
    """
    wanted = [*([recipe] for recipe in recipes), list(recipes)]
    with _one_thread(), TemporaryDirectory() as folder:
        workers = [_worker(some, f"{folder}/{number}") for number, some in enumerate(wanted)]
        for worker in workers:
            _cpu_s(worker, paths[:1])
        seconds = [[_cpu_s(worker, paths) for worker in workers] for _ in range(rounds)]
    *alone, together = (min(some) for some in zip(*seconds))
    return SharedPass(alone_s={recipe.name: s for recipe, s in zip(recipes, alone)}, together_s=together)


def _worker(recipes: Sequence[ExtractorRecipe], folder: str) -> BatchExtractor:
    built = [recipe.build() for recipe in recipes]
    store = FeatureStore(folder)
    return BatchExtractor(
        [Feature(store.feature_folder("bench", one.spec), recipe, one.medium) for one, recipe in zip(built, recipes)]
    )


def _cpu_s(worker: BatchExtractor, paths: Sequence[str]) -> float:
    todo = tuple(range(worker.n_features))
    start = time.process_time()
    outcomes = worker([ClipTask(path, {"video": Medium(path=path)}, todo) for path in paths])
    seconds = time.process_time() - start
    if rejected := [outcome for outcome in outcomes if outcome.reason]:
        raise MienError(f"{rejected[0].clip_id}: {rejected[0].reason}; give films that can be decoded")
    return seconds


def _timed(paths: Sequence[str], extract: Callable[[str], int]) -> Timing:
    start = time.perf_counter()
    n_frames = sum(extract(path) for path in paths)
    return Timing(n_files=len(paths), n_frames=n_frames, seconds=time.perf_counter() - start)


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
