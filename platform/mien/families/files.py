"""A learner's files as bytes, so that they can lie on a disk or in a bucket."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path


def written(write: Callable[[Path], None]) -> dict[str, bytes]:
    """What `Learner.save` or `Learner.export` writes into a folder, by file name."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def hand_over(files: Mapping[str, bytes], read: Callable[[Path], None]) -> None:
    """Hands these files to `Learner.load` or `Learner.restore`."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        read(Path(folder))
