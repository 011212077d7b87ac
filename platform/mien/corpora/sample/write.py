"""Tiny synthetic corpora in the true on-disk layouts.

For trials, tests and the first five minutes; never for a result. Every root holds SYNTHETIC.json (from which
the importers mark each clip) and a README, and every media file says so in its comment tag.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from mien.corpora import CORPORA, OnFile, load
from mien.corpora.sample.recording import COMMENT
from mien.corpora.tree import SYNTHETIC_MARKER
from mien.errors import CorpusError
from mien.folder import Folder

FORMAT = 2  # of the samples; another one is written anew
TAKES_OF_A_PROCESS = 16  # at least, where the module says nothing else: to start it takes as long as some of them

README = """\
SYNTHETIC corpus, written by `mien sample`.

No person speaks here and nobody voted. The face is a public-domain portrait (Eileen Collins, NASA; from
scikit-image) moved by a mesh; the voice and all that sensors record are computed. Folder layouts, file names,
formats and tables are those of the corpora they are named after, so that a program that reads those can be
tried; of the vote tables the columns of counts and majorities are there. ratings.csv is not of the corpus: it
holds the valence and arousal that three computed raters give (mien prepare ... --attach
ratings=ratings.csv; of ami, --ami.ratings ratings.csv).
A score on this corpus shows that the program runs, and nothing about emotion.
"""


class Sample(Protocol):
    """The module that writes a synthetic corpus. A take is one clip: what is in it is the module's own business.

    N_SUBJECTS: how many people it can have at most. A module may also have `TAKES_OF_A_PROCESS`: for how many takes
    it is worth while to start a process.
    """

    N_SUBJECTS: int

    def takes(self, n_subjects: int, n_per_emotion: int, seed: int) -> Sequence[Any]:
        """The clips to be recorded; the same for the same numbers, the first people the same with more of them."""

    def record(self, root: Path, take: Any) -> None:
        """Write the media files of one clip."""

    def tabulate(self, root: Path, takes: Sequence[Any]) -> None:
        """Write the tables, when all clips are recorded."""


def samples() -> dict[str, str]:
    """The corpora of which there is a sample, by the module that writes it."""
    return {name: module for name in CORPORA if (module := getattr(load(name), "SAMPLE", None))}


def write_sample(
    root: Path,
    corpora: Sequence[str] = ("ravdess", "cremad"),
    n_subjects: int = 4,
    n_per_emotion: int = 3,
    seed: int = 0,
    on_clip: OnFile | None = None,
) -> dict[str, Path]:
    """Write the corpora below root; returns corpus name to its root.

    n_per_emotion: clips of each subject and emotion, as far as the corpus has room for them (4 neutral and 8
    others in RAVDESS, 12 and 14 in CREMA-D). A corpus that lies there already, made with the same numbers, is
    left as it is. The same seed gives the same bytes (with the same FFmpeg); more subjects leave the first
    ones as they were.

    on_clip: called with (clips written, clips to write). Raises CorpusError where no corpus is named,
    something else lies in a corpus's place, or a number is out of range.
    """
    known = samples()
    if not corpora:
        raise CorpusError(f"corpora: none is named; choose from {', '.join(known)}")
    modules: dict[str, Sample] = {}
    for corpus in corpora:
        if corpus not in known:
            raise CorpusError(f"no sample of corpus {corpus!r}: choose from {', '.join(known)}")
        modules[corpus] = import_module(known[corpus])
        n_most = modules[corpus].N_SUBJECTS
        if not 1 <= n_subjects <= n_most:
            raise CorpusError(f"{n_subjects} subjects: {corpus} has 1 to {n_most}")
    if n_per_emotion < 1:
        raise CorpusError(f"{n_per_emotion} clips per emotion: at least 1 is needed")

    root = Path(Folder(root).make().uri)
    settings = {"n_subjects": n_subjects, "n_per_emotion": n_per_emotion, "seed": seed, "format": FORMAT}
    to_write = [corpus for corpus in corpora if not _is_there(root / corpus, settings)]
    takes = {corpus: modules[corpus].takes(n_subjects, n_per_emotion, seed) for corpus in to_write}
    n_takes, n_done = sum(map(len, takes.values())), 0
    for corpus in to_write:
        # Renamed when whole: a corpus cut off half-way is never taken for a small one.
        unfinished = root / f".{corpus}.partial"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        marker = {"synthetic": True, "corpus": corpus, "comment": COMMENT, **settings}
        (unfinished / SYNTHETIC_MARKER).write_text(json.dumps(marker, indent=2) + "\n")
        (unfinished / "README.txt").write_text(README)
        for _ in _recorded(modules[corpus], unfinished, takes[corpus]):
            n_done += 1
            if on_clip:
                on_clip(n_done, n_takes)
        modules[corpus].tabulate(unfinished, takes[corpus])
        unfinished.rename(root / corpus)
    return {corpus: root / corpus for corpus in corpora}


def _recorded(module: Sample, root: Path, takes: Sequence[Any]) -> Iterator[None]:
    """Records each take, in as many processes as there are cores; yields as one is done, in any order."""
    import joblib

    n_at_least = getattr(module, "TAKES_OF_A_PROCESS", TAKES_OF_A_PROCESS)
    n_processes = min(joblib.cpu_count(), len(takes) // n_at_least)
    if n_processes < 2:
        for take in takes:
            module.record(root, take)
            yield
    else:
        yield from joblib.Parallel(n_processes, return_as="generator_unordered")(
            joblib.delayed(module.record)(root, take) for take in takes
        )


def _is_there(root: Path, settings: dict[str, int]) -> bool:
    """Whether this very sample is there already; CorpusError where something else is in its place."""
    if not root.exists():
        return False
    try:
        marker = json.loads((root / SYNTHETIC_MARKER).read_text())
    except (OSError, ValueError):
        raise CorpusError(f"{root}: exists and is not a sample: choose another folder") from None
    found = {name: marker.get(name) for name in settings}
    if found != settings:
        numbers = ", ".join(f"{name} {value}" for name, value in found.items())
        raise CorpusError(f"{root}: holds another sample ({numbers}): delete it or choose another folder")
    return True
