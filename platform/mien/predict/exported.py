"""A folder that `mien export` wrote, which needs no framework to be used.

recipe.json normaliser.npz   as in model/ of the run
model.onnx                   the model; its inputs are in README.md
parents/<input>/             the same of each run whose predictions it reads
card.md                      of the run
README.md example.py example.npz
export.json                  written last: SHA-256 of all of these, and what was measured
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict  # pydantic wants it before Python 3.12

from mien.errors import MienError
from mien.folder import Folder, damaged, sha256, undamaged

EXPORT = "export.json"
FORMAT = 1


class Record(TypedDict):
    format: int
    mien: str
    files: dict[str, str]
    measured: dict[str, Any]


def read_export(folder: Folder) -> dict[str, bytes]:
    """Its files by name. Raises DamagedError where one is gone or is not what was written, MienError for another
    format."""
    record = read_record(folder)
    files = {}
    for name, hashed in record["files"].items():
        with undamaged(folder.path(name)):
            files[name] = folder.read_bytes(name)
        if sha256(files[name]) != hashed:
            raise damaged(folder.path(name), f"not as it was when {EXPORT} was written")
    return files


def read_record(folder: Folder) -> Record:
    record: Record = folder.read_json(EXPORT, Record)
    if record["format"] != FORMAT:
        raise MienError(
            f"{folder.path(EXPORT)}: format {record['format']} of an export, this mien reads format {FORMAT}: use the "
            f"mien that wrote it ({record['mien']}), or export again"
        )
    return record


def write_export(folder: Folder, files: Mapping[str, bytes], measured: Mapping[str, Any], mien: str) -> None:
    """Writes all files, export.json last."""
    for name, data in files.items():
        folder.write_bytes(name, data)
    hashes = {name: sha256(data) for name, data in files.items()}
    folder.write_json(EXPORT, {"format": FORMAT, "mien": mien, "files": hashes, "measured": measured}, sealed=True)
