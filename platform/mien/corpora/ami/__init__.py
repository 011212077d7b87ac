"""AMI: 100 hours of meetings, four people to a table, each with a headset and a camera (Carletta et al. 2005).

No emotion is annotated. Valence and arousal come from a table of the user's own (`mien.corpora.ami.ratings`); what the
corpus does have, be-positive and be-negative dialogue acts and laughter, is offered as the label source "proxy".

A clip is what one person says in one go (a segment of the transcription) or a window of fixed length. It is a stretch
of that person's headset and of the camera before that person, both on the meeting's clock. Who wore which headset is
read from meetings.xml (`mien.corpora.ami.seats`). Recordings are never opened: headset files with two channels (four of
ES2010d, both the same) are read as any sound of two channels, by their mean.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from mien.corpora import Card, OnFile, Verification
from mien.corpora.ami.ratings import StretchRatings, read_stretch_ratings
from mien.corpora.ami.seats import (
    MEETING,
    Meeting,
    Seat,
    attributes_of,
    read_meetings,
    read_participants,
    reject,
    unknown_people,
)
from mien.corpora.ami.speech import SAME_S, Annotations, Speech
from mien.corpora.clip import Clip, Medium, Reject
from mien.corpora.fetch.sources import Source
from mien.corpora.tree import MediaFile, Misplaced, find_media, in_order, sort_into_clips
from mien.errors import CorpusError

CARD = Card(
    name="ami",
    title="AMI Meeting Corpus",
    licence="CC BY 4.0",
    access="open download, groups.inf.ed.ac.uk/ami/download: headset wav and closeup avi of the meetings that you "
    "want, and the manual annotations 1.6.2, unpacked side by side below one folder",
    citation="J. Carletta et al., MLMI 2005, LNCS 3869: 28-39, 2006",
    n_clips=None,
    n_subjects=None,
    label_sources=("proxy",),
)

SUFFIXES = (".wav", ".avi")
TABLE_SUFFIXES = (".xml",)
SAMPLE = "mien.corpora.sample.ami"

_SUFFIX_OF = {"Headset": ".wav", "Mix-Headset": ".wav", "Closeup": ".avi"}
_SIGNAL = re.compile(r"(?P<kind>Headset|Mix-Headset|Closeup)(-?\d+)?")
_MIX = "Mix-Headset"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How the meetings are cut, and what is taken of them."""

    unit: Literal["utterance", "window"] = "utterance"
    """What a clip is. utterance: a segment of the transcription. window: window_s seconds of a person, every hop_s
    seconds, wherever this person speaks."""
    window_s: float = 10.0
    """Length of a window."""
    hop_s: float = 5.0
    """From the start of a window to that of the next; less than window_s makes them overlap."""
    least_s: float = 0.5
    """Shorter utterances, and windows with less speech of their person than that, make no clip."""
    sound: Literal["headset", "mix"] = "headset"
    """Whose sound: the person's own headset, or the mix of all headsets of the meeting, in which others are heard."""
    ratings: str = ""
    """CSV table of valence and arousal: meeting, participant, start_s, end_s (or time_s), valence, arousal, annotator,
    low, high. AMI publishes none."""

    def __post_init__(self) -> None:
        for name in ("window_s", "hop_s", "least_s"):
            value = getattr(self, name)
            if not 0 < value < 1e6:
                raise ValueError(f"{name} is {value:g}: give more than 0 seconds")
        if self.unit not in ("utterance", "window"):
            raise ValueError(f"unit is {self.unit!r}: choose from utterance, window")
        if self.sound not in ("headset", "mix"):
            raise ValueError(f"sound is {self.sound!r}: choose from headset, mix")


def note(settings: Settings | None) -> str:
    """What to tell a user of these settings before she wonders; empty for nothing."""
    if settings and settings.ratings:
        return ""
    return (
        "ami: no ratings were given and AMI publishes none, so no clip has valence or arousal (--ami.ratings "
        "takes a table); the label source proxy is of dialogue acts and laughter, and is no emotion"
    )


def import_clips(root: Path, settings: Settings | None = None) -> Iterator[Clip | Reject]:
    """Clips and rejects below root, sorted by id; file names and annotations are read, recordings are not.

    Recordings and annotations may lie anywhere below root. A segment is part of a clip, or of a reject; where nothing
    of a person or meeting was recorded, one reject counts its segments. Microphones and cameras that serve no clip
    (arrays, lapels, the corners of the room) are left aside.

    Raises CorpusError where root is no folder or holds no media, where meetings.xml, participants.xml, da-types.xml or
    the table of ratings is broken, or there are two meetings.xml.
    """
    root = Path(root).absolute()
    settings = settings or Settings()
    files = [file for file in find_media(root, SUFFIXES, CARD.title, CARD.access) if not _is_other(file)]
    signals, synthetic, rejects = sort_into_clips(files, root, _place)
    annotations = find_annotations(root, rejects)
    if annotations is None:
        rejects += _without_annotations(root, signals)
        return in_order((), rejects)
    ratings = read_stretch_ratings(settings.ratings) if settings.ratings else None
    meetings, faults = read_meetings(root, annotations.meetings)
    rejects += faults
    clips = list(_Import(root, settings, annotations, meetings, signals, synthetic, ratings).clips())
    if ratings:
        rejects += ratings.rejects(meetings)
    return in_order(clips, rejects)


def sources() -> Iterator[Source]:
    """The manual annotations, whose hash many independent projects wrote down alike. Media are chosen on the corpus's
    own page, which makes a script of downloads that `mien fetch --urls` reads."""
    yield Source(
        url="https://groups.inf.ed.ac.uk/ami/AMICorpusAnnotations/ami_public_manual_1.6.2.zip",
        path="ami_public_manual_1.6.2.zip",
        n_bytes=22_887_865,
        sha256="b56e5babb2496b8795deeeda7e71178d7fbc9963f94276cf2a3f4b56ebbc9f9d",
    )


def verify(root: Path, on_file: OnFile | None = None) -> Verification:
    """Compare a download with what is known of the published corpus; see `mien.corpora.ami.inventory`."""
    from mien.corpora.ami.inventory import check

    root = Path(root).absolute()
    files = [file for file in find_media(root, SUFFIXES, CARD.title, CARD.access) if not _is_other(file)]
    rejects: list[Reject] = []
    return check(root, files, find_annotations(root, rejects), _place, on_file)


def find_annotations(root: Path, rejects: list[Reject]) -> Annotations | None:
    """The folder of the NXT files: the one with corpusResources/meetings.xml. Raises CorpusError where two have it."""
    found: list[Path] = []
    seen = set()
    for folder, names, files in os.walk(root, followlinks=True):
        state = Path(folder).stat()
        names[:] = sorted(name for name in names if not name.startswith("."))
        if (state.st_dev, state.st_ino) in seen:
            names.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        if "meetings.xml" in files and Path(folder).name == "corpusResources":
            found.append(Path(folder).parent)
    if len(found) > 1:
        both = " and ".join(str(path) for path in found[:2])
        raise CorpusError(f"{root}: two folders of annotations below it, {both}: keep one")
    return Annotations(root, found[0], rejects) if found else None


def _signal_of(path: Path) -> tuple[str, str]:
    """ "ES2002a", "Headset-0" of ES2002a.Headset-0.wav; the second is empty where there is no dot."""
    meeting, _, signal = path.stem.partition(".")
    return meeting, signal


def _is_other(file: MediaFile) -> bool:
    """A recording of a meeting by a microphone or camera that is not of one person, nor the mix of the headsets."""
    meeting, signal = _signal_of(file.path)
    is_signal = bool(re.fullmatch(r"[\w-]+", signal, re.ASCII))
    return bool(MEETING.fullmatch(meeting)) and is_signal and not _SIGNAL.fullmatch(signal)


def _place(path: Path) -> tuple[str, str]:
    """Id of the meeting and name of the signal of a file."""
    meeting, signal = _signal_of(path)
    found = _SIGNAL.fullmatch(signal)
    if not MEETING.fullmatch(meeting) or not found:
        raise Misplaced("bad-name", "expected MEETING.SIGNAL, such as ES2002a.Headset-0.wav or ES2002a.Closeup1.avi")
    suffix = _SUFFIX_OF[found["kind"]]
    if path.suffix.lower() != suffix:
        raise Misplaced("wrong-suffix", f"{signal} is expected as {suffix}")
    return f"ami/{meeting}", signal


def _without_annotations(root: Path, signals: Mapping[str, Mapping[str, str]]) -> Iterator[Reject]:
    for id, files in signals.items():
        for path in files.values():
            where = Path(path).relative_to(root)
            detail = f"{where}: no corpusResources/meetings.xml below {root}, which says who speaks when: unpack the "
            detail += "manual annotations there, or give the folder that holds both"
            yield Reject(id=id, path=path, stage="import", reason="no-annotations", detail=detail)


@dataclass(frozen=True, slots=True)
class _Import:
    """One import. signals: id of a meeting to its files by signal. synthetic: ids of meetings."""

    root: Path
    settings: Settings
    annotations: Annotations
    meetings: dict[str, Meeting]
    signals: Mapping[str, Mapping[str, str]]
    synthetic: set[str]
    ratings: StretchRatings | None

    def clips(self) -> Iterator[Clip]:
        """All clips; what cannot be used goes to the rejects of the annotations."""
        rejects, act_types = self.annotations.rejects, self.annotations.act_types()
        people = self._people()
        for meeting in self.meetings.values():
            files = self.signals.get(f"ami/{meeting.name}", {})
            for seat in meeting.seats.values():
                media = self._media(seat, files)
                if media:
                    speech = self.annotations.speech(seat, act_types)
                    clips = self._of_seat(meeting, seat, speech, media, attributes_of(meeting, seat, people))
                    yield from sorted(clips, key=lambda clip: clip.id)
            rejects.extend(self._unassigned(meeting, files))
        rejects.extend(self._of_nobody())

    def _people(self) -> dict[str, dict[str, str]]:
        path = self.annotations.participants
        if not path.is_file():
            self._reject("ami", path, "missing-participants", "is not there: clips go without age, language and sex")
            return {}
        people = read_participants(path)
        path = self.annotations.meetings
        self.annotations.rejects.extend(unknown_people(self.root, path, self.meetings, people))
        return people

    def _media(self, seat: Seat, files: Mapping[str, str]) -> dict[str, str]:
        """Name of a medium to its file; a reject where one is wanting, or all are."""
        wanted = {"audio": _MIX if self.settings.sound == "mix" else f"Headset-{seat.headset}", "video": seat.camera}
        found = {medium: files[signal] for medium, signal in wanted.items() if signal in files}
        if not files:
            return {}  # the meeting was not downloaded, which is one reject
        path = self.annotations.segments_file(seat.name)
        if not found:
            why = f"{self._counted([path])} of {seat.participant} in {seat.meeting} became no clip, as neither "
            why += f"{' nor '.join(filter(None, wanted.values()))} is there: download one of them"
            self._reject(f"ami/{seat.name}", path, "no-media", why)
            return {}
        for medium, signal in wanted.items():
            if signal and medium not in found and (medium == "audio" or self._has_video()):
                reason = {"audio": f"missing-{self.settings.sound}", "video": "missing-video"}[medium]
                detail = f"{seat.meeting}.{signal}{_SUFFIX_OF[signal.rstrip('-0123456789')]} is not below {self.root}, "
                detail += f"so the clips of {seat.participant} in {seat.meeting} have no {medium}: download it"
                where = self.annotations.meetings
                self._reject(f"ami/{seat.name}", where, reason, detail, seat.line)
        return found

    def _has_video(self) -> bool:
        """Whether any camera was downloaded: without one, that nobody is seen was meant."""
        return any(signal.startswith("Closeup") for files in self.signals.values() for signal in files)

    def _of_seat(
        self, meeting: Meeting, seat: Seat, speech: Speech, media: Mapping[str, str], attributes: dict[str, str]
    ) -> Iterator[Clip]:
        for start_s, end_s in self._stretches(seat, speech):
            labels = [speech.proxy(start_s, end_s)]
            if self.ratings:
                labels.insert(0, self.ratings.label(meeting.name, seat.participant, start_s, end_s))
            said = speech.words_within(start_s, end_s)
            yield Clip(
                id=f"ami/{seat.name}.{round(start_s * 1000):08d}-{round(end_s * 1000):08d}",
                corpus="ami",
                subject=f"ami/{seat.participant}",
                media={name: Medium(path=path, start_s=start_s, end_s=end_s) for name, path in media.items()},
                labels=tuple(filter(None, labels)),
                groups={"meeting": f"ami/{meeting.name}", "series": f"ami/{meeting.series}"},
                attributes={**attributes, **({"transcript": said} if said else {})},
                synthetic=f"ami/{meeting.name}" in self.synthetic,
            )

    def _stretches(self, seat: Seat, speech: Speech) -> Iterator[tuple[float, float]]:
        """Start and end of each clip; a reject for each segment that is in none."""
        least_s = self.settings.least_s - SAME_S
        if self.settings.unit == "utterance":
            for segment in speech.segments:
                if segment.end_s - segment.start_s >= least_s:
                    yield segment.start_s, segment.end_s
                else:
                    self._too_short(seat, segment.start_s, segment.end_s, segment.line)
            return
        starts_s, ends_s = ([getattr(one, name) for one in speech.segments] for name in ("start_s", "end_s"))
        covered: set[int] = set()
        for start_s, end_s in self._windows(max(ends_s, default=0.0)):
            within = range(bisect_right(ends_s, start_s), bisect_left(starts_s, end_s))
            if sum(min(end_s, ends_s[n]) - max(start_s, starts_s[n]) for n in within) >= least_s:
                covered.update(within)
                yield start_s, end_s
        for number, segment in enumerate(speech.segments):
            if number not in covered:
                self._too_short(seat, segment.start_s, segment.end_s, segment.line)

    def _windows(self, last_s: float) -> Iterator[tuple[float, float]]:
        """From the start of the meeting on, so those of all its people lie on one grid, until last_s, where this person
        falls silent: what is transcribed was recorded, and who knows what follows."""
        for number in count():
            start_s = number * self.settings.hop_s
            end_s = min(start_s + self.settings.window_s, last_s)
            if start_s >= last_s:
                return
            yield start_s, end_s
            if end_s == last_s:
                return

    def _too_short(self, seat: Seat, start_s: float, end_s: float, line: int) -> None:
        what = "is shorter" if self.settings.unit == "utterance" else "is in no window with as much speech"
        detail = f"segment from {start_s:g} to {end_s:g} s {what} than least_s, {self.settings.least_s:g} s"
        self._reject(f"ami/{seat.name}", self.annotations.segments_file(seat.name), "too-short", detail, line)

    def _unassigned(self, meeting: Meeting, files: Mapping[str, str]) -> Iterator[Reject]:
        """Headsets and cameras at which, by meetings.xml, nobody sits."""
        assigned = {_MIX}
        for seat in meeting.seats.values():
            assigned |= {f"Headset-{seat.headset}", seat.camera}
        for signal, path in files.items():
            if signal not in assigned:
                where = Path(path).relative_to(self.root)
                detail = f"{where}: meetings.xml gives {signal} to nobody in {meeting.name}: it serves no clip"
                yield Reject(id=f"ami/{meeting.name}", path=path, stage="import", reason="unassigned", detail=detail)

    def _of_nobody(self) -> Iterator[Reject]:
        """Recordings of meetings, and segments of seats, that meetings.xml does not know; meetings without media."""
        for id, files in self.signals.items():
            if id.removeprefix("ami/") not in self.meetings:
                for path in files.values():
                    where = Path(path).relative_to(self.root)
                    detail = f"{where}: no meeting of this name in meetings.xml: add it there, or remove the file"
                    yield Reject(id=id, path=path, stage="import", reason="unknown-meeting", detail=detail)
        absent: dict[str, list[Path]] = {}
        for name, file in self.annotations.segment_files().items():
            meeting, _, letter = name.partition(".")
            if meeting not in self.meetings or letter not in self.meetings[meeting].seats:
                detail = f"{self._counted([file])} of a seat that meetings.xml does not know: add it there"
                yield reject(self.root, file, f"ami/{name}", "unknown-speaker", detail)
            elif not self.signals.get(f"ami/{meeting}"):
                absent.setdefault(meeting, []).append(file)
        for meeting, paths in absent.items():
            detail = f"{self._counted(paths)} of {meeting} became no clip, as nothing of it was downloaded"
            yield reject(self.root, paths[0], f"ami/{meeting}", "no-media", detail)

    def _counted(self, paths: Sequence[Path]) -> str:
        """ "12 segments", of files of which some may be broken."""
        numbers = [self.annotations.n_segments(path) for path in paths]
        n_broken = numbers.count(None)
        broken = f" (and {n_broken} broken files)" if n_broken else ""
        return f"{sum(number or 0 for number in numbers)} segments{broken}"

    def _reject(self, id: str, path: Path, reason: str, detail: str, line: int | None = None) -> None:
        self.annotations.rejects.append(reject(self.root, path, id, reason, detail, line))
