"""Is this machine fit to work? Versions, cores, memory, disk, codecs, weights, camera: what `mien doctor` looks at.

No framework is imported in this process: versions are read from what is installed, and what has to be tried (a GPU, an
import, a Ray) is tried in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mien import connection
from mien.cluster import probe
from mien.cluster.doctor import LEAST_DISK, LEAST_MEMORY, NEEDED, read_lock
from mien.features.extractors import weights

PYTHONS = ((3, 11), (3, 12))
FRAMEWORKS = ("torch", "tensorflow", "ray", "mediapipe", "transformers")
DECODERS = (
    *("h264", "hevc", "vp9", "mpeg4", "mpeg2video", "flv", "wmv2", "mjpeg"),
    *("aac", "mp3float", "opus", "vorbis", "flac", "alac", "wmav2", "pcm_s16le"),
)
IMPORT_S, RAY_S = 180, 180  # how long is waited for an import, and for a Ray
AGAIN = "install anew: make setup, or pip install -r requirements.lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What was found in one respect.

    status: "ok", "warn" (works, but look at it), "missing" (what needs it will not work). remedy: what to do; empty
    where all is well. is_needed: whether nothing works without it; a camera or weights are for who uses them.
    """

    name: str
    status: Literal["ok", "warn", "missing"]
    found: str
    remedy: str = ""
    is_needed: bool = False


def examine(*, imports: bool = False, ray: bool = False) -> list[Check]:
    """All checks of this machine.

    imports: load each framework, in a process of its own. ray: start a Ray, and end it.
    """
    checks: list[Callable[[], Iterator[Check]]] = [*CHECKS, *([_imports] if imports else []), *([_ray] if ray else [])]
    return [one for check in checks for one in check()]


def is_fit(checks: Sequence[Check]) -> bool:
    """Whether nothing that is needed is missing."""
    return not any(check.is_needed and check.status == "missing" for check in checks)


def _python() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] in PYTHONS:
        yield Check(name="python", status="ok", found=f"{version}, {sys.executable}", is_needed=True)
    else:
        tried = " or ".join(".".join(map(str, one)) for one in PYTHONS)
        remedy = f"mien is tried with {tried}: make a virtual environment of one of them"
        yield Check(name="python", status="warn", found=version, remedy=remedy, is_needed=True)
    yield Check(name="mien", status="ok", found=probe.fingerprint(), is_needed=True)


def _packages() -> Iterator[Check]:
    there, lock = probe.packages(), read_lock()
    for name in NEEDED:
        if name not in there:
            yield Check(name=name, status="missing", found="not installed", remedy=AGAIN, is_needed=True)
        elif name in FRAMEWORKS:
            yield Check(name=name, status="ok", found=there[name], is_needed=True)
    wrong = [
        f"{name} {there[name]} ({lock[name]})"
        for name in lock
        if there.get(name, lock[name]).split("+")[0] != lock[name]
    ]
    if lock:
        shown = ", ".join(wrong[:6]) + (f" and {len(wrong) - 6} more" if len(wrong) > 6 else "")
        yield Check(
            name="packages",
            status="warn" if wrong else "ok",
            found=shown or f"{sum(name in there for name in lock)} as in requirements.lock",
            remedy=f"others than in requirements.lock, which mien was tested with; {AGAIN}" if wrong else "",
        )


def _cores() -> Iterator[Check]:
    n_own, n_all = connection.machine_cpus(), os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", "")
    said = f"{n_own} of {n_all} for this process" + (f", OMP_NUM_THREADS is {threads}" if threads else "")
    yield Check(name="cores", status="ok", found=said)


def _memory() -> Iterator[Check]:
    memory = probe.memory()
    is_short = memory["free"] < 2 * LEAST_MEMORY
    remedy = "a worker takes 0.5 to 2 GB: end other programs, or use --workers 1"
    found = f"{_gb(memory['free'])} of {_gb(memory['total'])} free"
    yield Check(name="memory", status="warn" if is_short else "ok", found=found, remedy=remedy if is_short else "")


def _disk() -> Iterator[Check]:
    cache = Path(os.environ.get("MIEN_CACHE") or Path.home() / ".cache" / "mien")
    for name, place in (
        ("disk, here", Path()),
        ("disk, temporary", Path(tempfile.gettempdir())),
        ("disk, cache", cache),
    ):
        there = next(one for one in (place.absolute(), *place.absolute().parents) if one.exists())
        free = shutil.disk_usage(there).free
        found = f"{_gb(free)} free at {place.absolute()}"
        if not os.access(there, os.W_OK):
            remedy = f"nothing can be written there: give permission{'' if place != cache else ', or set MIEN_CACHE'}"
            yield Check(name=name, status="missing", found=found, remedy=remedy, is_needed=place != Path())
        elif free < LEAST_DISK:
            yield Check(name=name, status="warn", found=found, remedy="make room: features and runs take gigabytes")
        else:
            yield Check(name=name, status="ok", found=found)


def _gpu() -> Iterator[Check]:
    seen = probe.gpus()
    if seen["names"] is None:
        yield Check(name="gpu", status="ok", found="none (no nvidia-smi); all of mien runs without")
    elif seen["error"] or seen["torch"] != len(seen["names"]):
        found = f"{', '.join(seen['names']) or 'none'}; torch can use {seen['torch'] or 0}"
        remedy = seen["error"] or "install the torch of requirements.lock, or a newer driver"
        yield Check(name="gpu", status="warn", found=found, remedy=remedy)
    else:
        yield Check(name="gpu", status="ok", found=", ".join(seen["names"]))


def _codecs() -> Iterator[Check]:
    try:
        import av
        import soundfile
    except (ImportError, OSError) as error:
        yield Check(name="codecs", status="missing", found=str(error), remedy=AGAIN, is_needed=True)
        return
    lacking = [name for name in DECODERS if name not in av.codecs_available]
    found = (
        f"{len(DECODERS) - len(lacking)} of {len(DECODERS)} usual decoders (PyAV), {soundfile.__libsndfile_version__}"
    )
    if lacking:
        remedy = f"files in {', '.join(lacking)} will be rejects: install PyAV from its wheel, which brings them"
        yield Check(name="codecs", status="warn", found=found, remedy=remedy, is_needed=True)
    else:
        yield Check(name="codecs", status="ok", found=found, is_needed=True)


def _devices() -> Iterator[Check]:
    """What a live demo needs, on Linux."""
    cameras = sorted(Path("/dev").glob("video*"))
    shut = [str(one) for one in cameras if not os.access(one, os.R_OK | os.W_OK)]
    if not cameras:
        yield Check(name="camera", status="missing", found="none", remedy="only a live demo needs one: plug it in")
    elif shut:
        remedy = "only a live demo needs it: add yourself to the group video, and log in again"
        yield Check(name="camera", status="warn", found=f"no permission for {', '.join(shut)}", remedy=remedy)
    else:
        names = (Path("/sys/class/video4linux") / one.name / "name" for one in cameras)
        told = [
            f"{one} ({name.read_text().strip()})" if name.exists() else str(one) for one, name in zip(cameras, names)
        ]
        yield Check(name="camera", status="ok", found=", ".join(told))


def _weights() -> Iterator[Check]:
    """Of published networks: where they are looked for, and how they come there."""
    from mien.features.extractors import blendshapes, facenet, image_encoder, speech_encoder

    folder = weights.cache_folder()
    for name, url, option in (
        ("facenet", facenet.PUBLISHED_URL, "--facenet.weights"),
        ("blendshapes", blendshapes.PUBLISHED_URL, "--blendshapes.model"),
    ):
        file = url.rpartition("/")[2]
        if folder.exists(file):
            yield Check(name=f"weights, {name}", status="ok", found=folder.path(file))
        else:
            remedy = (
                f"downloaded at first use from {url}; without a connection, get it elsewhere and give {option} FILE"
            )
            yield Check(name=f"weights, {name}", status="missing", found=f"no {file} in {folder}", remedy=remedy)
    hub = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"
    for name, model in (
        ("speech-encoder", speech_encoder.PUBLISHED),
        ("image-encoder", image_encoder.ImageEncoderSettings().model),
    ):
        place = hub / f"models--{model.replace('/', '--')}"
        if any(place.glob("snapshots/*/model*.safetensors")):
            yield Check(name=f"weights, {name}", status="ok", found=str(place))
        else:
            remedy = (
                f"downloaded at first use from the Hugging Face hub ({model}); without a connection, copy the folder "
                f"of the network and give --{name}.model FOLDER"
            )
            yield Check(name=f"weights, {name}", status="missing", found=f"no {model} in {hub}", remedy=remedy)


def _imports() -> Iterator[Check]:
    """Two frameworks in one process abort, so each has one of its own."""
    there = probe.packages()
    for name in FRAMEWORKS:
        if name in there:
            error = _tried(f"import {name}", IMPORT_S)
            status: Literal["ok", "missing"] = "missing" if error else "ok"
            remedy = f"it is installed and does not load; {AGAIN}" if error else ""
            yield Check(
                name=f"import {name}",
                status=status,
                found=error or "loads",
                remedy=remedy,
                is_needed=name in NEEDED,
            )


def _ray() -> Iterator[Check]:
    code = "from mien import connection\nwith connection.connected('local') as one: print(round(one.startup_s, 1))"
    error = _tried(code, RAY_S)
    remedy = "prepare, predict and train work without a Ray on one machine (--engine processes); a search needs it"
    yield Check(
        name="ray starts",
        status="warn" if error else "ok",
        found=error or "started and ended",
        remedy=remedy if error else "",
    )


def _tried(code: str, timeout_s: float) -> str:
    """The last line of why Python code fails in a process of its own; "" where it does not."""
    environment = os.environ | {"PYTHONPATH": connection.search_path(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout_s, env=environment
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {timeout_s:g} s"
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1] if done.returncode else ""


CHECKS = (_python, _packages, _cores, _memory, _disk, _gpu, _codecs, _devices, _weights)


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB"
