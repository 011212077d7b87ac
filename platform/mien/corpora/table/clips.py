"""Rows of a table become clips: several rows of one stretch of one file are several judgements of it.

Classes become shares of votes and their majority, ratings their mean. A row that cannot be used is a reject with its
line, so that rows and rejects account for every line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import splitext
from statistics import fmean
from typing import TYPE_CHECKING

from mien.corpora import CORPORA
from mien.corpora.clip import Clip, Label, Medium, Rating, Reject
from mien.corpora.csv_table import CsvRow
from mien.corpora.ratings import Scale, agreement
from mien.corpora.table.columns import Columns
from mien.corpora.table.files import Files, Unusable
from mien.corpora.table.rows import SIDES, Rows
from mien.errors import CorpusError, nearest
from mien.experiment.protocol import UNKNOWN

if TYPE_CHECKING:
    from mien.corpora.table import Settings

SOUND = (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".wma", ".aif", ".aiff")
PICTURES = (".mp4", ".flv", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".wmv")
SIGNALS = (".bdf", ".edf")
# What a file serves as, by its suffix. A film without sound is the reject no-audio-stream where sound is asked for.
SERVES = {
    **dict.fromkeys(SOUND, ("audio",)),
    **dict.fromkeys(PICTURES, ("audio", "video")),
    **dict.fromkeys(SIGNALS, ("eeg", "physio")),
}
_TABLES = (".csv", ".tsv", ".txt")  # stand for their clip as a whole: no stretch is cut from them

# As pandas writes a Timedelta.
_TIMEDELTA = re.compile(r"(?:(-?\d{1,6}) days?,? ?)?(\d{1,6}):(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)")


def seconds(text: str) -> float | None:
    """A time in seconds, of a number or a Timedelta as pandas writes it; None where there is none.

    >>> seconds("1.5"), seconds("0 days 00:00:01.500000"), seconds("1 days 00:01:00"), seconds("")
    (1.5, 1.5, 86460.0, None)
    """
    if not text:
        return None
    if found := _TIMEDELTA.fullmatch(text):
        days, hours, minutes, rest = found.groups()
        return int(days or 0) * 86400.0 + int(hours) * 3600.0 + int(minutes) * 60.0 + float(rest)
    return float(text)


def _side(word: str) -> str:
    """A side of a split in the word that the protocol knows."""
    return SIDES.get(word.lower(), word)


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What one row says of its clip. word: of the table; emotion: what it is counted as."""

    word: str
    emotion: str
    ratings: Mapping[str, float]


@dataclass(slots=True)
class _Found:
    """A clip in the making: what all its rows must agree on, and their judgements by annotator."""

    where: str
    clip: Clip
    attributes: dict[str, dict[str, None]]
    by: dict[str, _Judgement] = field(default_factory=dict)


class Clips:
    """The clips and rejects of one or more tables, as they are read."""

    def __init__(self, settings: Settings, synthetic: bool) -> None:
        self._settings = settings
        self._synthetic = synthetic
        self._found: dict[str, _Found] = {}
        self._scales: dict[str, Scale] = {}
        self._subject = re.compile(settings.subject) if settings.subject else None
        self.rejects: list[Reject] = []
        self.n_used = 0  # lines that became part of a clip

    def add(self, rows: Rows, columns: Columns, files: Files) -> None:
        """All lines of a table."""
        table = rows.table
        for name, (_, scale) in columns.ratings.items():
            if self._scales.setdefault(name, scale) != scale:
                raise CorpusError(f"{table.path}, column {name}: its scale is another than that of the table before it")
        for line, why in rows.broken:
            self._reject(table.path, f"{table.path}, {table.noun} {line}", "bad-row", why)
        for path, reason, why in rows.strays:
            self._reject(path, path, reason, why)
        for row in table.rows:
            where = f"{table.path}, {table.noun} {row.line}"
            try:
                self._add_row(row, where, rows, columns, files)
            except Unusable as error:
                self._reject(table.path, where, error.reason, str(error))

    def clips(self) -> Iterator[Clip]:
        """Each with the labels of all its rows."""
        for found in self._found.values():
            label = self._label(list(found.by.values()))
            attributes = {name: " | ".join(values) for name, values in found.attributes.items() if values}
            clip = found.clip
            yield Clip(
                id=clip.id,
                corpus=clip.corpus,
                subject=clip.subject,
                media=clip.media,
                labels=(label,) if label else (),
                groups=clip.groups,
                attributes=attributes,
                synthetic=self._synthetic,
            )

    def _reject(self, path: str, where: str, reason: str, why: str, id: str = "") -> None:
        self.rejects.append(Reject(id=id or where, path=path, stage="import", reason=reason, detail=f"{where}: {why}"))

    def _add_row(self, row: CsvRow, where: str, rows: Rows, columns: Columns, files: Files) -> None:
        media, first, lost = self._media(row, columns, files)
        name = columns.cell(row, "clip_id") or self._name(first, media, rows.prefix, files)
        id = f"{self._settings.name}/{name}"
        clip = Clip(
            id=id,
            corpus=self._settings.name,
            subject=self._of_subject(row, first, columns),
            media=media,
            groups={group.lower(): self._own(row.cells[group]) for group in columns.groups if row.cells[group]},
        )
        judgement = self._judgement(row, columns)
        annotator = columns.cell(row, "annotator")
        found = self._found.get(id)
        if found is None:
            found = self._found[id] = _Found(where, clip, {})
        else:
            self._check_same(found, clip, annotator, "annotator" in columns.of)
            split = _side(columns.cell(row, "split"))
            if split and list(found.attributes.get("split", {})) not in ([], [split]):
                before = next(iter(found.attributes["split"]))
                raise Unusable("conflict", f"its split is {split}, and {before} in {found.where}: correct one of them")
        found.by[annotator] = judgement
        self.n_used += 1
        for name, column in columns.attributes.items():
            if cell := _side(row.cells[column]) if name == "split" else row.cells[column]:
                found.attributes.setdefault(name, {})[cell] = None
        for path, error in lost:
            self._reject(path, where, error.reason, str(error), id)

    # -------------------------------------------------------------- media

    def _media(
        self, row: CsvRow, columns: Columns, files: Files
    ) -> tuple[dict[str, Medium], str, list[tuple[str, Unusable]]]:
        """Media that can be used, the path that names the clip, and the files that cannot be used."""
        start_s, end_s = self._stretch(row, columns)
        cells: dict[str, str] = {}
        if file := columns.cell(row, "file"):
            suffix = splitext(file)[1].lower()
            if suffix not in SERVES:
                raise Unusable(
                    "unknown-suffix",
                    f"{file}: {suffix or 'no suffix'} is no format of sound, video or signals that is known here: name "
                    "the file in a column of its medium (audio, video, eeg, openface, ...)",
                )
            cells = dict.fromkeys(SERVES[suffix], file)
        cells |= {medium: row.cells[column] for medium, column in columns.media.items() if row.cells[column]}
        if not cells:
            raise Unusable("no-file", "names no file: fill it in, or remove the line")
        media: dict[str, Medium] = {}
        lost: dict[str, Unusable] = {}
        paths: list[str] = []
        for name, cell in cells.items():
            try:
                path = files.path(cell)
                paths.append(path)
                files.check(path)
            except Unusable as error:
                lost[cell] = error
                continue
            is_whole = splitext(path)[1].lower() in _TABLES
            media[name] = Medium(path=path) if is_whole else Medium(path=path, start_s=start_s, end_s=end_s)
        if not media:
            raise next(iter(lost.values()))
        return media, paths[0] if paths else "", list(lost.items())

    def _stretch(self, row: CsvRow, columns: Columns) -> tuple[float, float | None]:
        try:
            start_s, end_s = (seconds(columns.cell(row, one)) for one in ("start", "end"))
        except ValueError:
            shown = f"{columns.cell(row, 'start')!r} to {columns.cell(row, 'end')!r}"
            raise Unusable("bad-time", f"{shown}: give seconds, or times such as 0 days 00:00:01.5") from None
        start_s = start_s or 0.0
        if not 0 <= start_s < 1e9 or (end_s is not None and not start_s < end_s < 1e9):
            shown = f"{start_s:g} s to {'the end' if end_s is None else f'{end_s:g} s'}"
            raise Unusable("bad-span", f"{shown}: must start at 0 or later and end after it starts")
        return start_s, end_s

    def _name(self, first: str, media: Mapping[str, Medium], prefix: str, files: Files) -> str:
        """Of a clip: its file's, with the stretch where it is not all of it."""
        cut = next((medium for medium in media.values() if not medium.is_whole), None)
        name = f"{prefix}{files.name(first)}"
        if cut is None:
            return name
        return f"{name}_{cut.start_s:.3f}-{'end' if cut.end_s is None else f'{cut.end_s:.3f}'}"

    # -------------------------------------------------------------- whose, and of what

    def _own(self, value: str) -> str:
        """A subject or group as this corpus's. One with a slash is another corpus's already: ravdess/07 is that
        person, and no split parts them. "Ravdess / 07" is the same one: written otherwise, it would be nobody there."""
        corpus, slash, name = (part.strip() for part in value.strip("/ ").partition("/"))
        if not slash:
            return f"{self._settings.name}/{corpus}"
        return f"{corpus.lower() if corpus.lower() in CORPORA else corpus}/{name}"

    def _of_subject(self, row: CsvRow, path: str, columns: Columns) -> str:
        if self._subject:
            cell = columns.cell(row, "file") or path
            found = self._subject.search(cell)
            if not found or not (found[1] if found.re.groups else found[0]):
                raise Unusable("no-subject", f"{cell}: --table.subject {self._settings.subject} finds no subject in it")
            return self._own(found[1] if found.re.groups else found[0])
        if "subject" not in columns.of:
            return f"{self._settings.name}/{UNKNOWN}"
        subject = columns.cell(row, "subject")
        if not subject.strip("/ ") or subject == UNKNOWN:
            raise Unusable("no-subject", "does not say who it is of: fill it in, or remove the line")
        return self._own(subject)

    @staticmethod
    def _check_same(found: _Found, clip: Clip, annotator: str, has_annotators: bool) -> None:
        before = found.clip
        if before.media != clip.media:
            one, other = (next(iter(c.media.values())).path for c in (clip, before))
            raise Unusable(
                "same-name",
                f"{one} has the name of {other} in {found.where} ({clip.id}): give both in one line if they are one "
                "recording, or add a column clip_id",
            )
        if before.subject != clip.subject or before.groups != clip.groups:
            raise Unusable("conflict", f"its subject or groups are not those of {found.where}: correct one of them")
        if annotator in found.by:
            who = f"by {annotator} " if annotator else ""
            more = "" if has_annotators else "; of several judgements, say whose each is in a column annotator"
            raise Unusable("duplicate", f"the same stretch is judged {who}in {found.where}: remove one of them{more}")

    # -------------------------------------------------------------- labels

    def _judgement(self, row: CsvRow, columns: Columns) -> _Judgement:
        settings = self._settings
        word = columns.cell(row, "emotion")
        emotion = settings.map.get(word, word)
        if emotion and settings.words and emotion not in settings.words:
            raise Unusable("unknown-emotion", f"{word}: {nearest(emotion, settings.words)}, or map it: --table.map")
        ratings: dict[str, float] = {}
        for name, (column, scale) in columns.ratings.items():
            cell = row.cells[column]
            if not cell:
                continue
            try:
                value = float(cell)
            except ValueError:
                raise Unusable("bad-number", f"{name} is {cell!r}, which is no number: correct it") from None
            if not scale.low <= value <= scale.high:
                raise Unusable("off-scale", f"{name} is {cell}, off its scale of {scale.low:g} to {scale.high:g}")
            ratings[name] = value
        return _Judgement(word, emotion, ratings)

    def _label(self, judgements: list[_Judgement]) -> Label | None:
        given = [judgement for judgement in judgements if judgement.emotion]
        counts: dict[str, int] = {}
        for judgement in given:
            counts[judgement.emotion] = counts.get(judgement.emotion, 0) + 1
        most = [emotion for emotion, n in counts.items() if n == max(counts.values())]
        words = sorted({judgement.word for judgement in given if judgement.emotion in most})
        values: dict[str, list[float]] = {}
        for judgement in judgements:
            for name, value in judgement.ratings.items():
                values.setdefault(name, []).append(value)
        if not (given or values):
            return None
        return Label(
            source=self._settings.source,
            own=":".join(words),
            emotion=most[0] if len(most) == 1 else None,
            votes={emotion: n / len(given) for emotion, n in sorted(counts.items())} if len(given) > 1 else {},
            ratings={name: self._rating(self._scales[name], of) for name, of in values.items()},
        )

    @staticmethod
    def _rating(scale: Scale, values: list[float]) -> Rating:
        return Rating(
            value=min(max(fmean(values), scale.low), scale.high),
            low=scale.low,
            high=scale.high,
            n_raters=len(values),
            agreement=agreement(values, scale.low, scale.high),
        )
