"""Fixtures for all tests. The first import of any test module must not decide a framework's threads or devices."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# One thread: two cores, and Ray's workers inherit it.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).parents[1]


def hears_ctrl_c() -> None:
    """For a child's preexec_fn: tests started in the background of a shell ignore SIGINT, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


REAL_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    np.random.seed(0)  # noqa: NPY002 - what a library draws from numpy's global generator


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Memory-mapped features of a test go with it, and never into the home of the person who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_framework(request: pytest.FixtureRequest) -> Iterator[None]:
    """torch and TensorFlow in one process are no failure by themselves, and abort some later test: so it is said here.

    Nor does a run without them load one to look for tests, which takes seconds in each process.
    """
    for framework in {"torch", "tensorflow"} & sys.modules.keys():
        wanted = f"not {framework}" not in request.config.option.markexpr
        assert wanted, f"looking for tests has imported {framework}: see DOCTESTS in the Makefile"
    yield
    assert len({"torch", "tensorflow"} & sys.modules.keys()) < 2, "this run has imported torch and tensorflow"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real recordings; they stay out of the project, so a fresh machine skips what needs them."""
    if not REAL_DATA.is_dir():
        pytest.skip("no real recordings at ../shared/data")
    return REAL_DATA


@pytest.fixture(scope="session")
def landmarker_task(real_data: Path) -> Path:
    """MediaPipe's Face Landmarker with blendshapes; no package brings it."""
    path = real_data / "weights" / "face_landmarker_v2_with_blendshapes.task"
    if not path.is_file():
        pytest.skip(f"no {path.name} at ../shared/data/weights")
    return path


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 of this machine with an empty bucket, and the environment that leads there; its URI.

    A Ray that is started later hands the environment on to its workers.
    """
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batches of `prepare` go to one extractor here, and not to processes of their own."""
    from mien.features import prepare as room
    from mien.features.prepare.tasks import tasks_from_table
    from mien.features.prepare.worker import BatchExtractor

    def stream(features: Any, batches: Any, workers: int, limits: Any) -> Iterator[Any]:
        extract = BatchExtractor(features, limits)
        for batch in batches:
            yield extract(tasks_from_table(batch))

    monkeypatch.setattr(room.connection, "machine_cpus", lambda: 1)
    monkeypatch.setattr(room, "stream_by_processes", stream)
