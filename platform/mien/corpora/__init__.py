"""The corpora: one module each, found by name, which turns a download into clips. See `Corpus` for what it offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from mien.corpora.clip import Clip, Reject
from mien.errors import CorpusError, Finding, nearest

CORPORA: dict[str, str] = {
    "ravdess": "mien.corpora.ravdess",
    "cremad": "mien.corpora.cremad",
    "ami": "mien.corpora.ami",
    "mahnob": "mien.corpora.mahnob",
    "table": "mien.corpora.table",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What a user should know before using a corpus. n_clips, n_subjects: None where no source states them."""

    name: str
    title: str
    licence: str
    access: str
    citation: str
    n_clips: int | None
    n_subjects: int | None
    label_sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """Whether a download is complete and intact. counts: name of a part to (files found, files published)."""

    corpus: str
    root: str
    counts: dict[str, tuple[int, int]]
    findings: tuple[Finding, ...]

    @property
    def intact(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)


# Called with (files done, files to do) after each file.
OnFile = Callable[[int, int], None]


class Corpus(Protocol):
    """What a corpus module offers.

    SUFFIXES: the media files that it reads, in lower case with their dot, the better of two first. A module may also
    have

    - `CARD`, a `Card`: then `mien corpora` lists it;
    - `TABLE_SUFFIXES`: the annotation files that its import reads as a whole, such as (".csv",);
    - `EXCERPTS`: suffix of the media of which its import reads a part, to the function that reads it, given the path
      and the open file (it raises MediaError only). Of a corpus in S3 no other part is fetched (`mien.corpora.remote`);
    - `Settings`, a frozen dataclass of what its import can be asked, each field with a docstring: `mien prepare` and
      `mien verify` show them as --<corpus>.<field>. `verify` may take them too, as `settings`. Without it,
      `settings` is always None. A field `name` is what the clips and the folder in the store are called;
    - `ROOT_SUFFIXES`: of the files that root may be instead of a folder, such as (".csv",);
    - `note(settings)`: a sentence for the user of these settings, such as that no clip is rated; empty for none;
    - `clip_id(stem)`: id of the clip that a file of this name belongs to, ValueError where the name is not one of this
      corpus. With it, extra media are found by the corpus's own file names (`mien.corpora.attach`);
    - `sources()`: the files that it is downloaded as (`mien.corpora.fetch.Source`), for `mien fetch`; without it, that
      command asks for a list, and says what the card says about access;
    - `SAMPLE`: the module that writes a small synthetic corpus in the true layout (`mien.corpora.sample.write.Sample`).
    """

    SUFFIXES: tuple[str, ...]

    def import_clips(self, root: Path, settings: Any = None) -> Iterator[Clip | Reject]:
        """Clips and rejects below root, sorted by id; clip ids are unique and the same each time."""

    def verify(self, root: Path, on_file: OnFile | None = None) -> Verification:
        """Compare the download with what was published."""


def load(name: str) -> Corpus:
    """The module of a corpus. Raises CorpusError for an unknown name."""
    if name not in CORPORA:
        raise CorpusError(f"unknown corpus {name!r}: {nearest(name, CORPORA)}")
    return import_module(CORPORA[name])


def settings_type(name: str) -> type | None:
    """The dataclass of what a corpus's import can be asked; None where it has none or is not known."""
    return getattr(load(name), "Settings", None) if name in CORPORA else None


def name_of(corpus: str, settings: Any = None) -> str:
    """What the clips and the folder in the store are called: as the corpus, or as its settings say."""
    return getattr(settings, "name", corpus)


def cards() -> list[Card]:
    """The cards of the corpora that have one, in the order of `CORPORA`."""
    return [card for name in CORPORA if (card := getattr(load(name), "CARD", None))]


def naming(corpus: str) -> Callable[[str], str] | None:
    """The function from a file's stem to the id of its clip; None where the corpus's file names do not say."""
    return getattr(load(corpus), "clip_id", None)


def named(stems: Iterable[str]) -> set[str]:
    """The corpora that these file names belong to."""

    def is_of(name: str, stem: str) -> bool:
        try:
            return bool((clip_id := naming(name)) and clip_id(stem))
        except ValueError:
            return False

    return {name for stem in stems for name in CORPORA if is_of(name, stem)}
