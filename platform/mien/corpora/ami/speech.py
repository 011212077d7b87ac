"""What one person of an AMI meeting said and did: segments, words, laughter and dialogue acts, from NXT files."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from mien.corpora.ami.nxt import BrokenXml, Element, pointer, read_nxt
from mien.corpora.ami.seats import Seat, read_whole, reject
from mien.corpora.clip import Label, Rating, Reject

POSITIVE, NEGATIVE = "be.pos", "be.neg"
# Of ontologies/da-types.xml, for annotations that came without it.
ACT_TYPES = {"ami_da_14": POSITIVE, "ami_da_15": NEGATIVE}
SAME_S = 0.0005  # times are stated in milliseconds


@dataclass(frozen=True, slots=True)
class Stretch:
    """Seconds of a meeting. line: where it is stated."""

    start_s: float
    end_s: float
    line: int

    def touches(self, start_s: float, end_s: float) -> bool:
        """Whether it shares time with another one; for a moment, whether that lies within."""
        if self.start_s == self.end_s:
            return start_s <= self.start_s < end_s
        return self.start_s < end_s and start_s < self.end_s


@dataclass(frozen=True, slots=True)
class Word:
    """A word that was spoken, by its start."""

    start_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Speech:
    """Of one seat. segments: as they were transcribed, in the order of time, none overlaps another. words, laughs: in
    the order of time. acts: those with a polarity and which it is, None where no dialogue acts are annotated."""

    segments: list[Stretch]
    words: list[Word]
    laughs: list[Stretch]
    acts: list[tuple[str, Stretch]] | None

    def words_within(self, start_s: float, end_s: float) -> str:
        """What is said from start to end, without punctuation."""
        low, high = (bisect_left(self.words, at_s, key=lambda word: word.start_s) for at_s in (start_s, end_s))
        return " ".join(word.text for word in self.words[low:high])

    def proxy(self, start_s: float, end_s: float) -> Label | None:
        """Valence on a scale from -1 to 1 by what was done, not by how it was meant or felt.

        (p - n) / (p + n) with p the be.pos acts and laughs, n the be.neg acts that share time with the stretch; 0 where
        there are none. None where dialogue acts are not annotated: then their absence says nothing.
        """
        if self.acts is None:
            return None
        seen = [polarity for polarity, act in self.acts if act.touches(start_s, end_s)]
        n_positive = seen.count(POSITIVE) + sum(laugh.touches(start_s, end_s) for laugh in self.laughs)
        n_negative = seen.count(NEGATIVE)
        value = (n_positive - n_negative) / max(1, n_positive + n_negative)
        own = {(True, True): "mixed", (True, False): "positive", (False, True): "negative"}
        word = own.get((n_positive > 0, n_negative > 0), "none")
        return Label(source="proxy", own=word, ratings={"valence": Rating(value=value, low=-1, high=1)})


@dataclass(frozen=True, slots=True)
class Annotations:
    """The folder that holds corpusResources, words, segments and dialogueActs. rejects: what of it cannot be used, as
    far as it was read."""

    root: Path
    folder: Path
    rejects: list[Reject]

    @property
    def meetings(self) -> Path:
        return self.folder / "corpusResources" / "meetings.xml"

    @property
    def participants(self) -> Path:
        return self.folder / "corpusResources" / "participants.xml"

    def segments_file(self, seat: str) -> Path:
        return self.folder / "segments" / f"{seat}.segments.xml"

    def words_file(self, seat: str) -> Path:
        return self.folder / "words" / f"{seat}.words.xml"

    def acts_file(self, seat: str) -> Path:
        return self.folder / "dialogueActs" / f"{seat}.dialog-act.xml"

    def segment_files(self) -> dict[str, Path]:
        """Name of a seat to the segments of it, for all that are there."""
        end = ".segments.xml"
        return {path.name.removesuffix(end): path for path in sorted((self.folder / "segments").glob(f"[!.]*{end}"))}

    def act_types(self) -> dict[str, str]:
        """Id of a type of dialogue act to its name ("be.pos"), by ontologies/da-types.xml where it is there."""
        path = self.folder / "ontologies" / "da-types.xml"
        if not path.is_file():
            return ACT_TYPES
        return {element.id: element.attributes.get("name", "") for element in read_whole(path).walk()}

    def speech(self, seat: Seat, act_types: dict[str, str]) -> Speech:
        """All that is annotated of a seat."""
        words_file, acts_file = self.words_file(seat.name), self.acts_file(seat.name)
        segments = self._segments(seat)
        tokens = self._read(words_file, seat, "missing-words", "its clips go without words, laughter and proxy label")
        words, laughs = [], []
        for token in tokens or ():
            times = _times(token, "starttime", "endtime")
            if not times:  # some words of AMI have no time
                continue
            if token.tag == "w" and token.attributes.get("punc") != "true" and token.text.strip():
                words.append(Word(times[0], token.text.strip()))
            elif token.tag == "vocalsound" and token.attributes.get("type") == "laugh":
                laughs.append(Stretch(*times, token.line))
        acts = None
        if tokens is not None and acts_file.is_file():
            acts = self._acts(seat, acts_file, tokens, act_types)
        words.sort(key=lambda word: word.start_s)
        laughs.sort(key=lambda laugh: laugh.start_s)
        return Speech(segments, words, laughs, acts)

    def n_segments(self, path: Path) -> int | None:
        """How many a file holds, None where it is broken."""
        try:
            return sum(element.tag == "segment" for element in read_nxt(path).walk())
        except BrokenXml:
            return None

    def _segments(self, seat: Seat) -> list[Stretch]:
        path = self.segments_file(seat.name)
        elements = self._read(path, seat, "missing-segments", "nothing says when this person speaks")
        found: list[Stretch] = []
        for element in elements or ():
            if element.tag != "segment":
                continue
            times = _times(element, "transcriber_start", "transcriber_end")
            if times and times[0] < times[1]:
                found.append(Stretch(*times, element.line))
                continue
            start, end = (element.attributes.get(f"transcriber_{name}", "") for name in ("start", "end"))
            detail = f"segment from {start!r} to {end!r} s: it must end after it starts, at 0 or later: correct it"
            self._reject(path, f"ami/{seat.name}", "bad-times", detail, element.line)
        kept: list[Stretch] = []
        for segment in sorted(found, key=lambda segment: (segment.start_s, segment.line)):
            if kept and segment.start_s < kept[-1].end_s - SAME_S:
                before = f"{kept[-1].start_s:g} to {kept[-1].end_s:g} s on line {kept[-1].line}"
                detail = f"segment from {segment.start_s:g} to {segment.end_s:g} s overlaps that from {before}, of the "
                detail += "same person: correct one of them"
                self._reject(path, f"ami/{seat.name}", "overlapping-segments", detail, segment.line)
            else:
                kept.append(segment)
        return kept

    def _acts(
        self, seat: Seat, path: Path, tokens: list[Element], act_types: dict[str, str]
    ) -> list[tuple[str, Stretch]] | None:
        elements = self._read(path, seat, "missing-dialogue-acts", "its clips go without proxy label")
        if elements is None:
            return None
        place = {token.id: number for number, token in enumerate(tokens)}
        found = []
        for element in elements:
            if element.tag != "dact":
                continue
            try:
                polarity = _polarity(element, act_types)
                if polarity in (POSITIVE, NEGATIVE):
                    start_s, end_s = _range(element, self.words_file(seat.name).name, tokens, place)
                    found.append((polarity, Stretch(start_s, end_s, element.line)))
            except ValueError as error:
                detail = f"dialogue act {element.id!r}: {error}; it is left out of the proxy label"
                self._reject(path, f"ami/{seat.name}", "broken-reference", detail, element.line)
        return found

    def _read(self, path: Path, seat: Seat, reason: str, without: str) -> list[Element] | None:
        """All elements of a file; None, and a reject, where it is not there or broken."""
        if not path.is_file():
            self._reject(path, f"ami/{seat.name}", reason, f"is not there: {without}; unpack the annotations again")
            return None
        try:
            return list(read_nxt(path).walk())
        except BrokenXml as error:
            detail = f"{error}: nothing of this file is used, {without}; unpack the annotations again"
            self._reject(path, f"ami/{seat.name}", "broken-xml", detail)
            return None

    def _reject(self, path: Path, id: str, reason: str, detail: str, line: int | None = None) -> None:
        self.rejects.append(reject(self.root, path, id, reason, detail, line))


def _times(element: Element, start: str, end: str) -> tuple[float, float] | None:
    """Start and end of an element in seconds; None unless both are there, finite, 0 or more, and in their order."""
    try:
        start_s, end_s = (float(element.attributes[name]) for name in (start, end))
    except (KeyError, ValueError):
        return None
    return (start_s, end_s) if 0 <= start_s <= end_s < math.inf else None


def _polarity(element: Element, act_types: dict[str, str]) -> str:
    """Name of the type of a dialogue act, "" where it has none, as some have."""
    for child in element.children:
        if child.tag == "pointer" and child.attributes.get("role") == "da-aspect":
            return act_types.get(pointer(child.attributes.get("href", "")).first, "")
    return ""


def _range(element: Element, file: str, tokens: list[Element], place: dict[str, int]) -> tuple[float, float]:
    """When the words of a dialogue act begin and end. Raises ValueError where it points to none that have a time."""
    times = []
    for child in (child for child in element.children if child.tag == "child"):
        to = pointer(child.attributes.get("href", ""))
        if to.file != file:
            raise ValueError(f"points into {to.file!r}, not into {file}")
        if to.first not in place or to.last not in place:
            raise ValueError(f"points to {to.first}..{to.last}, which {file} does not hold")
        words = tokens[place[to.first] : place[to.last] + 1]
        times += [found for word in words if (found := _times(word, "starttime", "endtime"))]
    if not times:
        raise ValueError("points to no word that has a time")
    return min(start_s for start_s, _ in times), max(end_s for _, end_s in times)
