"""DONE of a run, which is written last: the SHA-256 of each file of it, as it was when the run was finished.

    {"files": {"metrics.json": "<64 hex digits>", "model/recipe.json": ..., ...}}

What is read of a finished run is held against it, so that no number comes from a file that is not what was written. A
DONE without content is of an older mien, which recorded nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from typing_extensions import TypedDict  # pydantic wants it before Python 3.12

from mien.folder import Folder, damaged, sha256, shaped, undamaged

DONE = "DONE"
CONDITIONS = "conditions.parquet"
MODEL = "model"  # folder of what a finished run can be used by
RECORDED = (
    *("experiment.json", "environment.json", "split.json", "split.csv"),
    *("history.jsonl", "predictions.parquet", CONDITIONS, "metrics.json"),
)  # and all of model/; what `mien report` adds is drawn from these

Hashes = Mapping[str, str]

_KNOWN: dict[str, Hashes] = {}  # by DONE: a report reads ten files of a run, and a bucket takes 20 ms for each


class _Done(TypedDict):
    files: dict[str, str]


def write_done(folder: Folder) -> None:
    """Record all that is in the folder of a run, and that the run is finished."""
    names = [name for name in folder.files() if name in RECORDED or name.startswith(f"{MODEL}/")]
    folder.write_json(DONE, {"files": {name: sha256(folder.read_bytes(name)) for name in names}})


def recorded(folder: Folder) -> Hashes:
    """SHA-256 of each file; empty where the run is not finished, and where an older mien finished it.

    Raises DamagedError for a DONE that mien did not write.
    """
    path = folder.path(DONE)
    try:
        data = folder.read_bytes(DONE)
    except FileNotFoundError:
        return {}
    if not data.strip():
        return {}
    with undamaged(path):
        files: Hashes = shaped(json.loads(data), _Done)["files"]
    _KNOWN[path] = files
    return files


def read(folder: Folder, name: str) -> bytes:
    """A file of a run. Raises DamagedError where it is gone, or is not what was written before the run was finished."""
    path = folder.path(name)
    hashes = _KNOWN.get(folder.path(DONE)) or recorded(folder)
    with undamaged(path):
        data = folder.read_bytes(name)
    if not is_as_recorded(hashes, name, data) and not is_as_recorded(recorded(folder), name, data):
        raise damaged(path, f"not as it was when {DONE} was written")
    return data


def is_as_recorded(hashes: Hashes, name: str, data: bytes) -> bool:
    """Whether these are the bytes of a file as it was; also of one that was not recorded."""
    return name not in hashes or sha256(data) == hashes[name]


def read_model(folder: Folder) -> dict[str, bytes]:
    """All of model/ of a finished run, by name from there on ("weights.npz", "parents/<input>/recipe.json").

    Raises DamagedError where a file is gone, or is not what was written.
    """
    names = [name for name in recorded(folder) if name.startswith(f"{MODEL}/")]
    names = names or [f"{MODEL}/{name}" for name in (folder / MODEL).files()]
    return {name.removeprefix(f"{MODEL}/"): read(folder, name) for name in names}
