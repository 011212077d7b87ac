"""Anyone's own recordings: a table with a line per clip, or a folder that is as good as one.

    file,speaker,gender,emotion,split
    monday/take 1.wav,anna,female,angry,train
    monday/take 2.wav,ben,male,happy,test

`file` (also `file_name`, `path`) is sound, video or signals by its suffix; or one column per medium (audio, video, eeg,
ecg, physio, openface, ...). `subject` (also `speaker`) is who is in it. `start` and `end` cut a stretch, in seconds or
as pandas writes times. `emotion` is a word; `valence` and `arousal` are ratings, whose scale is stated once (`low`,
`high`). With `annotator` (also `rater`), several lines judge one clip. `group`, `meeting`, `stimulus`, `dyad` and
`session` are groups, `split` the side or the fold of the protocol `official`, `clip_id` a name of one's own; `sex`
(also `gender`), `age` and every other column are attributes. docs/reference/corpora.md has all of it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mien.corpora import CORPORA, OnFile, Verification
from mien.corpora.clip import Clip, Reject
from mien.corpora.emotions import VOCABULARIES
from mien.corpora.inventory import container_fault
from mien.corpora.table.clips import PICTURES, SIGNALS, SOUND, Clips
from mien.corpora.table.columns import MEDIA, read_columns, renamed
from mien.corpora.table.files import Files
from mien.corpora.table.roots import read_roots
from mien.corpora.table.rows import SUFFIXES as ROOT_SUFFIXES
from mien.corpora.tree import SYNTHETIC_MARKER, MediaFile, in_order, is_marked
from mien.errors import CorpusError, Finding
from mien.experiment.pairs import Pairs
from mien.experiment.protocol import is_unknown

__all__ = ["ROOT_SUFFIXES", "SAMPLE", "SUFFIXES", "TABLE_SUFFIXES", "Settings", "import_clips", "verify"]

SUFFIXES = (*SOUND, *PICTURES, *SIGNALS)
TABLE_SUFFIXES = (*ROOT_SUFFIXES, ".yaml")
SAMPLE = "mien.corpora.sample.table"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a table is read."""

    name: str = "table"
    """What the corpus is called: its folder in the store, and the beginning of its clips' ids. Letters, digits, dots,
    dashes and underscores."""
    root: str = ""
    """Where relative paths start, a folder or s3://bucket/prefix; by default the folder of the table."""
    rename: Pairs = field(default_factory=dict)
    """Columns by their name in the table and the name that is known here: wav=file spk=speaker."""
    map: Pairs = field(default_factory=dict)
    """Emotions by their word in the table and what they are counted as: happy=happiness joy=happiness. A word that is
    not named stays as it is."""
    vocabulary: tuple[str, ...] = ()
    """Emotions that may stand in the table, after the mapping: words, or common6 or ravdess8. A line with another one
    is a reject. By default every word is a class."""
    subject: str = ""
    """Where no column says who speaks: a regular expression that finds it in the file as the table names it, by its
    first group if it has one, such as "^([a-z]+)_". Without column and expression the subjects are unknown."""
    source: Literal[
        "annotated", "intended", "perceived-voice", "perceived-face", "perceived-both", "self-report", "proxy"
    ] = "annotated"
    """Who says that the clips show these emotions."""
    scale: tuple[float, float] | None = None
    """Lowest and highest value of ratings whose scale no column states."""
    ratings: tuple[str, ...] = ("valence", "arousal", "dominance")
    """Columns of ratings."""
    groups: tuple[str, ...] = ("group", "meeting", "stimulus", "dyad", "session")
    """Columns of groups, which the protocol by-group keeps whole."""
    media: tuple[str, ...] = ()
    """Further columns of files, each the medium of that name."""
    tables: tuple[str, ...] = ()
    """Tables of an audformat database; by default those with an emotion or ratings."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name):
            raise CorpusError(
                f"table.name {self.name!r}: it names a folder; give letters, digits, dots, dashes and underscores"
            )
        if self.name in CORPORA and self.name != "table":
            raise CorpusError(f"table.name {self.name!r}: a corpus of this name is known already; choose another")
        try:
            re.compile(self.subject)
        except re.error as error:
            raise CorpusError(f"table.subject {self.subject!r}: is no regular expression ({error})") from None
        if self.scale and not self.scale[0] < self.scale[1]:
            raise CorpusError(f"table.scale {self.scale[0]:g} {self.scale[1]:g}: the lower end comes first")

    @property
    def words(self) -> tuple[str, ...]:
        """The emotions that may stand in the table; empty where all may."""
        return tuple(word for one in self.vocabulary for word in VOCABULARIES.get(one, (one,)))


def import_clips(root: Path, settings: Settings | None = None) -> Iterator[Clip | Reject]:
    """Clips and rejects of a table or a folder, sorted by id; tables are read, media are not.

    Each line of the table becomes part of a clip or a reject with file and line. Raises CorpusError for a root without
    a table, and for a table that cannot be used at all.
    """
    clips, _ = _read(Path(root).absolute(), settings or Settings())
    return in_order(clips.clips(), clips.rejects)


def _read(root: Path, settings: Settings) -> tuple[Clips, int]:
    """Also how many lines there were."""
    clips = Clips(settings, synthetic=is_marked(root if root.is_dir() else root.parent))
    n_lines = 0
    for rows in read_roots(root, SUFFIXES, settings.tables):
        table = renamed(rows.table, settings.rename)
        columns = read_columns(
            table,
            media=(*MEDIA, *settings.media),
            groups=settings.groups,
            ratings=settings.ratings,
            scale=settings.scale,
            scales=rows.scales,
        )
        clips.add(rows.with_table(table), columns, Files(_base(settings.root, rows.base)))
        n_lines += rows.n_lines
    return clips, n_lines


def _base(stated: str, of_table: str) -> str:
    return str(Path(stated).expanduser().absolute()) if stated and "://" not in stated else stated or of_table


def verify(root: Path, on_file: OnFile | None = None, settings: Settings | None = None) -> Verification:
    """Whether a table and its files can be used: lines that are rejects, files that are cut off or the same bytes.

    on_file: called with (files looked at, files to look at).
    """
    settings = settings or Settings()
    root = Path(root).absolute()
    clips, n_lines = _read(root, settings)
    found = list(clips.clips())
    errors = [
        Finding(
            severity="error", what=one.reason, path=one.path, detail=one.detail.removeprefix(one.path).lstrip(",: ")
        )
        for one in clips.rejects
    ]
    paths = sorted({medium.path for clip in found for medium in clip.media.values() if "://" not in medium.path})
    findings = [*errors, *_check_files(paths, on_file), *_notes(root, found, settings)]
    counts = {"lines": (clips.n_used, n_lines)}
    if found and found[0].synthetic:
        detail = f"made by `mien sample`, as {SYNTHETIC_MARKER} says: no recordings of people"
        findings.insert(0, Finding(severity="error", what="synthetic", path=str(root), detail=detail))
    return Verification(corpus=settings.name, root=str(root), counts=counts, findings=tuple(findings))


def _check_files(paths: list[str], on_file: OnFile | None) -> Iterator[Finding]:
    """Containers that are not whole, and files of the same bytes."""
    n_bytes = {path: Path(path).stat().st_size for path in paths}
    n_of_length = Counter(n_bytes.values())
    by_hash: dict[str, list[str]] = defaultdict(list)
    for n_done, path in enumerate(paths, start=1):
        if fault := container_fault(MediaFile(Path(path), n_bytes[path])):
            yield Finding(severity="error", what="truncated", path=path, detail=f"{fault}: copy it again")
        elif n_of_length[n_bytes[path]] > 1:
            with Path(path).open("rb") as stream:
                by_hash[hashlib.file_digest(stream, "sha256").hexdigest()].append(path)
        if on_file:
            on_file(n_done, len(paths))
    for first, *others in by_hash.values():
        if others:
            detail = f"byte-identical with {', '.join(others)}: splits keep them together"
            yield Finding(severity="warning", what="byte-identical", path=first, detail=detail)


def _notes(root: Path, clips: list[Clip], settings: Settings) -> Iterator[Finding]:
    """What the table holds, as it will be learnt."""

    def note(severity: str, what: str, detail: str) -> Finding:
        return Finding(severity=severity, what=what, path=str(root), detail=detail)

    if any(is_unknown(clip.subject) for clip in clips):
        yield note("warning", "unknown-subjects", NO_SUBJECTS.format(name=settings.name))
    labels = [label for clip in clips for label in clip.labels]
    words = Counter(label.emotion for label in labels if label.emotion)
    if words:
        counts = ", ".join(f"{word} {n}" for word, n in sorted(words.items()))
        yield note("info", "classes", f"{counts}; --target.vocabulary {','.join(sorted(words))}")
    for name in sorted({name for label in labels for name in label.ratings}):
        rated = [label.ratings[name] for label in labels if name in label.ratings]
        agreed = [one.agreement for one in rated if one.agreement is not None]
        said = f"; mean agreement of its raters (a_wg) {sum(agreed) / len(agreed):.2f}" if agreed else ""
        yield note("info", "ratings", f"{name} of {len(rated)} clips, from {rated[0].low:g} to {rated[0].high:g}{said}")
    if voted := [label for label in labels if label.votes]:
        share = sum(max(label.votes.values()) for label in voted) / len(voted)
        split = sum(label.emotion is None for label in voted)
        detail = (
            f"of {len(voted)} clips by several annotators; {share:.0%} of their votes agree, {split} have no majority"
        )
        yield note("info", "votes", detail)
    if not labels:
        yield note("warning", "no-labels", "no clip has an emotion or a rating: rename the column that holds it")


NO_SUBJECTS = (
    "{name}: nothing says who is in which clip, so all clips count as of one unknown person. No score can be claimed "
    "for people whom a model has not met: by-subject is refused, and reports say so. Add a column subject, or find it "
    "in the files' names with --table.subject"
)
