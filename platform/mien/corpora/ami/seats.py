"""Who sat where in the meetings of AMI: the person, the headset and the camera of each seat, by meetings.xml.

A seat is a letter, A to E, and holds for one meeting only: in the next one its letter, headset and camera may be
somebody else's. meetings.xml says for each which channel (`channel`, Headset-<n>) and which camera (`camera`, Closeup1
to Closeup4) recorded whom (`global_name`), as groups.inf.ed.ac.uk/ami/corpus/participantids.shtml states.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mien.corpora.ami.nxt import BrokenXml, Element, read_nxt
from mien.corpora.clip import Reject
from mien.errors import CorpusError

# groups.inf.ed.ac.uk/ami/corpus/meetingids.shtml: site, kind, four digits, and a letter where it is one of a series.
MEETING = re.compile(r"(?P<series>[IETB][SNB]\d{4})[a-z]?")
_LETTER = re.compile(r"[A-Z]")
_CAMERA = re.compile(r"Closeup\d+")
_SEXES = {"F": "female", "M": "male"}
_PERSONAL = {"sex": "sex", "native_language": "native_language", "age_at_collection": "age", "age": "age"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """One person in one meeting. headset: number of the channel. camera: "" where none is named. line: in
    meetings.xml."""

    meeting: str
    letter: str
    participant: str
    headset: int
    camera: str
    role: str
    line: int

    @property
    def name(self) -> str:
        """As the annotation files are called: "ES2002a.A"."""
        return f"{self.meeting}.{self.letter}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Meeting:
    """kind: "scenario" and the like, "" where it is not said. seats: by letter."""

    name: str
    kind: str
    seats: dict[str, Seat]

    @property
    def series(self) -> str:
        """The meetings of one group of people: "ES2002" of ES2002a to d."""
        return series_of(self.name)


def series_of(meeting: str) -> str:
    """
    >>> series_of("ES2002a"), series_of("IB4001")
    ('ES2002', 'IB4001')
    """
    found = MEETING.fullmatch(meeting)
    return found["series"] if found else meeting


def reject(root: Path, path: Path, id: str, reason: str, detail: str, line: int | None = None) -> Reject:
    """One reject of an annotation file, its path and the line before what is wrong with it."""
    where = f"{path.relative_to(root)}" + (f", line {line}" if line else "")
    return Reject(id=id, path=str(path), stage="import", reason=reason, detail=f"{where}: {detail}")


def read_whole(path: Path) -> Element:
    """A file that nothing can do without. Raises CorpusError where it is broken."""
    try:
        return read_nxt(path)
    except BrokenXml as error:
        raise CorpusError(f"{path}: {error}: unpack the annotations again") from None


def read_meetings(root: Path, path: Path) -> tuple[dict[str, Meeting], list[Reject]]:
    """The meetings of meetings.xml by name, and a reject for each entry that cannot be one.

    Names that become parts of file names are held to their form, so that none leads out of root.
    """
    meetings: dict[str, Meeting] = {}
    rejects: list[Reject] = []
    for element in read_whole(path).walk():
        if element.tag != "meeting":
            continue
        name = element.attributes.get("observation", "")
        if why := _why_no_meeting(name, meetings):
            rejects.append(reject(root, path, f"ami/{name or element.id}", "bad-meeting", why, element.line))
            continue
        meeting = Meeting(name=name, kind=element.attributes.get("type", ""), seats={})
        for speaker in (child for child in element.walk() if child.tag == "speaker"):
            seat = _seat(meeting, speaker)
            if isinstance(seat, str):
                rejects.append(reject(root, path, f"ami/{name}", "bad-speaker", f"{name}: {seat}", speaker.line))
            else:
                meeting.seats[seat.letter] = seat
        meetings[name] = meeting
    return meetings, rejects


def _why_no_meeting(name: str, known: dict[str, Meeting]) -> str:
    if not MEETING.fullmatch(name):
        return f"observation {name!r} is no name of a meeting, such as ES2002a: correct it"
    return f"{name} was described before: remove one of the two" if name in known else ""


def _seat(meeting: Meeting, speaker: Element) -> Seat | str:
    """A speaker's seat, or a sentence on why there is none."""
    said = speaker.attributes
    letter, participant, channel, camera = (said.get(k, "") for k in ("nxt_agent", "global_name", "channel", "camera"))
    if not _LETTER.fullmatch(letter):
        return f"nxt_agent {letter!r} is no letter of a seat, A to E: correct it"
    if letter in meeting.seats:
        return f"seat {letter} was given to {meeting.seats[letter].participant} before: remove one of the two"
    if not participant.strip() or "/" in participant:
        return f"seat {letter}: global_name {participant!r} is no name of a person: correct it"
    if not (channel.isascii() and channel.isdecimal() and len(channel) < 3):
        return f"seat {letter}: channel {channel!r} is no number of a headset: correct it"
    if camera and not _CAMERA.fullmatch(camera):
        return f"seat {letter}: camera {camera!r} is none of Closeup1 to Closeup4: correct it"
    return Seat(
        meeting=meeting.name,
        letter=letter,
        participant=participant.strip(),
        headset=int(channel),
        camera=camera,
        role=said.get("role", ""),
        line=speaker.line,
    )


def read_participants(path: Path) -> dict[str, dict[str, str]]:
    """Global name to what participants.xml says of a person: sex, native_language, age, english_region."""
    people: dict[str, dict[str, str]] = {}
    for element in read_whole(path).walk():
        if element.tag != "participant":
            continue
        name = element.id or element.attributes.get("global_name", "")
        said = {ours: value for theirs, ours in _PERSONAL.items() if (value := element.attributes.get(theirs))}
        if "sex" in said:
            said["sex"] = _SEXES.get(said["sex"].upper(), said["sex"].lower())
        for child in element.children:
            if child.tag == "english_language" and (region := child.attributes.get("region")):
                said["english_region"] = region
        people[name] = said
    return people


def attributes_of(meeting: Meeting, seat: Seat, people: dict[str, dict[str, str]]) -> dict[str, str]:
    """What is known of a clip by who sits there. The sex is also the first letter of the name, by the page above."""
    said = {
        "sex": _SEXES.get(seat.participant[0], ""),
        **people.get(seat.participant, {}),
        "role": seat.role,
        "meeting_kind": meeting.kind,
    }
    return {name: value for name, value in said.items() if value}


def unknown_people(
    root: Path, path: Path, meetings: dict[str, Meeting], people: dict[str, dict[str, str]]
) -> Iterator[Reject]:
    """One reject for each person whom participants.xml does not name; the clips are imported without attributes."""
    seats = (seat for meeting in meetings.values() for seat in meeting.seats.values())
    first = {seat.participant: seat for seat in reversed(list(seats)) if seat.participant not in people}
    for name, seat in sorted(first.items()):
        detail = f"{name} is not in participants.xml, so what it says of a person is missing: correct one of the two"
        yield reject(root, path, f"ami/{name}", "unknown-participant", detail, seat.line)
