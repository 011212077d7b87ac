"""The corpora: one module each, found by name. Each offers the same four things.

`CARD` (what it is, licence, access, counts), `import_clips(root)` (clips and named rejects, sorted by id),
`verify(root)` (is this download complete and intact?) and `clip_id(stem)` (the id of the clip that a file of
this name belongs to; ValueError where the name is not one of this corpus).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from mien.corpora.clip import Clip, Reject
from mien.errors import CorpusError

CORPORA: dict[str, str] = {
    "ravdess": "mien.corpora.ravdess",
    "cremad": "mien.corpora.cremad",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What a user should know before using a corpus."""

    name: str
    title: str
    licence: str
    access: str
    citation: str
    n_clips: int
    n_subjects: int
    label_sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that `verify` noticed. severity: "error" (the download is not what was published), "warning"
    (published so, but worth knowing) or "info"."""

    severity: str
    what: str
    path: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """Answer to: is this download complete and intact? counts: name of a part to (found, published)."""

    corpus: str
    root: str
    counts: dict[str, tuple[int, int]]
    findings: tuple[Finding, ...]

    @property
    def intact(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)


# Called with (files done, files to do).
Progress = Callable[[int, int], None]


class Corpus(Protocol):
    """The shape of a corpus module."""

    CARD: Card

    def import_clips(self, root: Path) -> Iterator[Clip | Reject]: ...

    def verify(self, root: Path, progress: Progress | None = None) -> Verification: ...

    def clip_id(self, stem: str) -> str: ...


def load(name: str) -> Corpus:
    """The module of a corpus; an unknown name raises CorpusError with the known ones."""
    if name not in CORPORA:
        raise CorpusError(f"unknown corpus {name!r}: choose from {', '.join(CORPORA)}")
    return import_module(CORPORA[name])


def named(stems: Iterable[str]) -> set[str]:
    """The corpora that these file names belong to."""

    def has(name: str, stem: str) -> bool:
        try:
            return bool(load(name).clip_id(stem))
        except ValueError:
            return False

    return {name for stem in stems for name in CORPORA if has(name, stem)}
