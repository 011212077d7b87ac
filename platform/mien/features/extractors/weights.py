"""The weights of a published network: a file, an `s3://` or `file://` URI, or a URL that is fetched once.

Weights from the web are kept in `$MIEN_WEIGHTS`, or else where facenet-pytorch keeps them, so that a file
that it downloaded before is found.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
from pathlib import Path

from mien.errors import MienError
from mien.folder import Folder

REMEDY = 'set weights to a file (a path, an s3:// URI or a URL), or try things out with weights "random"'
TIMEOUT_S = 60


def read_weights(location: str, sha256: str | None = None, remedy: str = REMEDY) -> tuple[bytes, str]:
    """The bytes of a weights file and their SHA-256 in hex.

    sha256 None: whatever is there is taken (its sum is recorded with the features all the same). Raises
    MienError where the file cannot be had, or is not the one that was asked for; remedy: what it says to do.
    """
    fetch = _fetch if location.startswith(("http://", "https://")) else _read
    data = fetch(location, remedy)
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise MienError(
            f"weights {location}: SHA-256 is {found}, expected {sha256}; a broken or another file: "
            f"remove it (also from {cache_folder()}) and get it again, or {remedy}"
        )
    return data, found


def cache_folder() -> Folder:
    """Where weights from the web are kept, and the copies of networks in buckets."""
    torch_home = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch"))
    return Folder(os.environ.get("MIEN_WEIGHTS", torch_home / "checkpoints"))


def _read(location: str, remedy: str) -> bytes:
    folder, _, name = location.removeprefix("file://").rpartition("/")
    try:
        return Folder(folder or ".").read_bytes(name)
    except OSError as error:
        raise MienError(f"weights {location}: cannot be read ({error}); {remedy}") from error


def _fetch(url: str, remedy: str) -> bytes:
    cache, name = cache_folder(), url.rpartition("/")[2]
    if not cache.exists(name):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
                cache.write_bytes(name, response.read())
        except OSError as error:
            raise MienError(f"weights {url}: no download ({error}); {remedy}") from error
    return cache.read_bytes(name)
