"""What a machine of a cluster says of itself: versions, disk, memory, GPUs, clock, and whether it reaches the bucket.

`mien.cluster.doctor` has each node run this and compares. Nothing heavy is imported: torch is asked in a process of
its own, and only where there is a GPU to be seen.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from email.utils import parsedate_to_datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import mien
from mien.errors import MienError
from mien.folder import Folder

_VISIBLE = "CUDA_VISIBLE_DEVICES"  # Ray hides all GPUs from a worker that was given none
_NVIDIA_SMI_S, _TORCH_S = 20, 120


class Probe:
    """An actor on one node; its process stays warm between the questions, so that the clock is read without delay."""

    def look(self, storage: str | None) -> dict[str, Any]:
        """Everything but the clock. storage: a place to try to write to."""
        return {
            "python": platform.python_version(),
            "packages": packages(),
            "mien": fingerprint(),
            "auth": _auth_mode(),
            "disk": _disk(),
            "shm_bytes": _shm_bytes(),
            "memory": memory(),
            "gpus": gpus(),
            "storage": reach(storage) if storage else None,
        }

    def time_s(self) -> float:
        return time.time()


def packages() -> dict[str, str]:
    """Name, as PyPI writes it, to version: what `import` would find first."""
    found: dict[str, str] = {}
    for distribution in distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        found.setdefault(name, distribution.version)
    found.pop("", None)
    return found


def fingerprint() -> str:
    """Version of mien and eight hex digits of its sources: a stale install has the version and not the digits."""
    root = Path(mien.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return f"{mien.__version__} {digest.hexdigest()[:8]}"


def gpus() -> dict[str, Any]:
    """names: as nvidia-smi lists them; None where there is no nvidia-smi. torch: how many torch can use; None where it
    was not asked. error: what went wrong."""
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        listed = subprocess.run(command, capture_output=True, text=True, timeout=_NVIDIA_SMI_S)
    except FileNotFoundError:
        return {"names": None, "torch": None, "error": None}
    except subprocess.TimeoutExpired:
        return {"names": [], "torch": None, "error": f"nvidia-smi did not end within {_NVIDIA_SMI_S} s"}
    if listed.returncode:
        return {"names": [], "torch": None, "error": _last_line(listed.stdout + listed.stderr)}
    names = listed.stdout.split("\n")[:-1]
    environment = {name: value for name, value in os.environ.items() if name != _VISIBLE}
    command = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_TORCH_S, env=environment)
    except subprocess.TimeoutExpired:
        return {"names": names, "torch": None, "error": f"torch did not answer within {_TORCH_S} s"}
    if asked.returncode:
        return {"names": names, "torch": None, "error": _last_line(asked.stderr)}
    return {"names": names, "torch": int(asked.stdout), "error": None}


def reach(storage: str) -> dict[str, Any]:
    """Writes a small object, reads it and removes it. error: why not, in words; skew_s: this clock less S3's, as far as
    it can be told (S3 states whole seconds), None for a folder."""
    name, data = f"doctor-{uuid.uuid4().hex[:8]}", os.urandom(16)
    try:
        folder = Folder(storage)
        folder.write_bytes(name, data)
        whole = folder.read_bytes(name) == data
        folder.remove(name)
    except MienError as error:
        return {"error": str(error), "skew_s": None}
    except OSError as error:
        return {"error": f"{storage}: {error}", "skew_s": None}
    wrong = None if whole else f"{storage}: what was read is not what was written; is it an S3 at all?"
    return {"error": wrong, "skew_s": None if folder.is_local else _skew_s(storage)}


def _skew_s(storage: str) -> float | None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        before_s = time.time()
        answer = boto3.client("s3").head_bucket(Bucket=storage.split("://")[1].split("/")[0])
        after_s = time.time()
    except (BotoCoreError, ClientError):
        return None  # the error of the object above says more
    stated = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if not stated:
        return None
    there_s = parsedate_to_datetime(stated).timestamp()
    return outside(there_s - 1, before_s, after_s + 1)


def outside(value: float, low: float, high: float) -> float:
    """How far a value lies outside of an interval; the sign is that of the interval less the value.

    >>> outside(5.0, 1.0, 2.0), outside(0.0, 1.0, 2.0), outside(1.5, 1.0, 2.0)
    (-3.0, 1.0, 0.0)
    """
    return min(0.0, high - value) + max(0.0, low - value)


def _auth_mode() -> str:
    """ "token" or "disabled", as the Ray of this process understands its environment."""
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    return "token" if is_token_auth_enabled() else "disabled"


def _disk() -> dict[str, int]:
    """Bytes of the disk where Ray keeps its logs and spills to."""
    usage = shutil.disk_usage(tempfile.gettempdir())
    return {"free": usage.free, "total": usage.total}


def _shm_bytes() -> int | None:
    """Size of /dev/shm, where the object store lies; None where there is none (macOS)."""
    return shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else None


def memory() -> dict[str, int]:
    """Bytes of this machine that are free, and all."""
    import psutil

    found = psutil.virtual_memory()
    return {"free": found.available, "total": found.total}


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
