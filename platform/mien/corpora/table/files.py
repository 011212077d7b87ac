"""The media that a table names: where each lies, and whether it can be used. None is opened."""

from __future__ import annotations

import posixpath
from pathlib import Path

from mien.corpora.tree import problem_of
from mien.errors import FolderError
from mien.folder import File, Folder


class Unusable(ValueError):
    """A row, or a file of a row, that cannot be used. `reason` is the reject's stable code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Files:
    """Files by the paths of a table. base: where relative ones start, a folder or s3://bucket/prefix."""

    def __init__(self, base: str) -> None:
        self._base = base if "://" in base else str(Path(base).absolute())
        self._problems: dict[str, tuple[str, str] | None] = {}
        self._listed: dict[str, dict[str, File]] = {}

    def path(self, cell: str) -> str:
        """Absolute path or URI. Raises Unusable where the path leads out of the base, or can be none."""
        if "\0" in cell:
            raise Unusable("bad-path", f"{cell!r} holds a zero byte: correct it")
        if "://" in cell:
            return cell
        if cell.startswith("/"):
            return posixpath.normpath(cell)
        inner = posixpath.normpath(cell)
        if inner == ".." or inner.startswith("../"):
            raise Unusable(
                "outside-root",
                f"{cell} leads out of {self._base}: give absolute paths, or name a folder above all files with "
                "--table.root and paths from there",
            )
        return f"{self._base.rstrip('/')}/{inner}"

    def name(self, path: str) -> str:
        """What a file is called in the id of its clip: its path within the base, without its suffix."""
        inner = path.removeprefix(f"{self._base.rstrip('/')}/")
        return posixpath.splitext(inner.partition("://")[2] or inner.lstrip("/"))[0]

    def check(self, path: str) -> None:
        """Raises Unusable where there is no such file, or it is empty or cannot be read."""
        if path not in self._problems:
            self._problems[path] = self._remote_problem(path) if "://" in path else _local_problem(path)
        if found := self._problems[path]:
            raise Unusable(*found)

    def _remote_problem(self, path: str) -> tuple[str, str] | None:
        folder, _, name = path.rpartition("/")
        try:
            if folder not in self._listed:
                self._listed[folder] = Folder(folder).files()
        except FolderError as error:
            return "bad-path", str(error)
        file = self._listed[folder].get(name)
        if file is None:
            return "missing", f"{path}: no such file: copy it there, or correct the path"
        return None if file.size else ("empty", f"{path}: is 0 bytes long: copy it again")


def _local_problem(path: str) -> tuple[str, str] | None:
    try:
        state = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return "missing", f"{path}: no such file: correct the path, or say where paths start with --table.root"
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return "unreadable", f"{path}: cannot be reached ({why}): correct the path"
    if found := problem_of(Path(path), state):
        return found[0], f"{path}: {found[1]}"
    return None
