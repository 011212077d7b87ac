"""What the session.xml of MAHNOB-HCI says of one session, checked; nothing here opens a recording."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from mien.corpora.clip import Label, Rating
from mien.corpora.emotions import MAHNOB_CODES
from mien.errors import MediaError

# Attribute to dimension: self-assessment manikins of nine points (Soleymani et al. 2012, section 3.3).
DIMENSIONS = {
    "feltVlnc": "valence",
    "feltArsl": "arousal",
    "feltCtrl": "dominance",
    "feltPred": "predictability",
}
LOW, HIGH = 1, 9

# A flaw is (reason, sentence): something of a session that cannot be used, while the rest can.
Flaw = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Which samples of the recording of a whole visit a cut file holds: from begin to end, at rate_hz.

    The numbers are fractions of a sample: where the moment lay at which it was cut.
    """

    begin: float
    end: float | None
    rate_hz: float

    @property
    def late_s(self) -> float:
        """How long after the moment of the cut the first whole sample comes."""
        return (math.ceil(self.begin) - self.begin) / self.rate_hz

    @property
    def length_s(self) -> float:
        """Infinite where the end is not stated."""
        return math.inf if self.end is None else (self.end - self.begin) / self.rate_hz


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One session as session.xml states it.

    subject: number of the person. stimulus: file name of the film. files: "video", "audio", "bdf" and "gaze" to the
    file name that is stated. others: further files that are named, such as those of the other cameras. video, audio:
    which samples their files hold, None where it is not stated.
    """

    subject: int
    label: Label
    stimulus: str | None
    files: Mapping[str, str]
    others: frozenset[str]
    video: Section | None
    audio: Section | None
    attributes: Mapping[str, str]
    flaws: tuple[Flaw, ...] = field(default=())


def read_session(data: bytes, number: int, camera: str) -> Session:
    """The session of this number, from the bytes of its session.xml.

    camera: "" for the camera that is marked as the one in colour, else a part of the name of its file ("BW1"). Raises
    MediaError with a reason where it cannot become a clip: "bad-xml" (cut, or of another kind), "wrong-folder" (of
    another session), "no-rating" (nothing was asked of the participant) or "no-subject".
    """
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise MediaError("bad-xml", f"cannot be read as XML ({error}): download it again") from error
    if root.tag != "session":
        raise MediaError("bad-xml", f"begins with <{root.tag[:40]}>, expected <session>: download it again")
    flaws: list[Flaw] = []
    stated = _number(root, "sessionId")
    if stated is not None and stated != number:
        raise MediaError("wrong-folder", f"is of session {stated:g}: move it to the folder of that number")
    label = _label(root, flaws)
    child = root.find("subject")
    subject = None if child is None else _number(child, "id")
    if subject is None or subject < 1 or subject % 1:
        raise MediaError("no-subject", "names no subject by number: without it no split is safe; download it again")
    stimulus = _text(root, "mediaFile")
    if stimulus is None:
        flaws.append(("no-stimulus", "names no mediaFile: the clip belongs to no group by stimulus"))
    files, others = _files(root, camera)
    return Session(
        subject=int(subject),
        label=label,
        stimulus=stimulus,
        files=files,
        others=others,
        video=_section(root, "vid", flaws),
        audio=_section(root, "aud", flaws),
        attributes={
            name: text for name in ("experimentType", "isStim", "cutNr", "cutLenSec") if (text := _text(root, name))
        },
        flaws=tuple(flaws),
    )


def read_person(data: bytes) -> dict[str, str]:
    """sex and age of a person, from the bytes of a file of Subjects, where they can be found.

    What these files hold is described nowhere that we found. So any attribute or element called sex, gender or age, in
    any case, is taken, and a file without them is as good as none. Raises MediaError "bad-xml".
    """
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise MediaError("bad-xml", f"cannot be read as XML ({error}): download it again") from error
    meanings = {"sex": "sex", "gender": "sex", "age": "age"}
    found: dict[str, str] = {}
    for element in root.iter():
        for name, text in (*element.attrib.items(), (element.tag, element.text or "")):
            meaning = meanings.get(name.lower())
            if meaning and text.strip():
                found.setdefault(meaning, text.strip().lower())
    found["sex"] = {"m": "male", "f": "female"}.get(found.get("sex", ""), found.get("sex", ""))
    return {name: text for name, text in found.items() if text}


def _label(root: ElementTree.Element, flaws: list[Flaw]) -> Label:
    """What the participant reported; MediaError "no-rating" where that is nothing."""
    kind = _text(root, "experimentType") or "an experiment that is not named"
    if _number(root, "isStim") == 0:
        raise MediaError("no-rating", f"isStim is 0 ({kind}): nothing was asked about this stretch")
    ratings: dict[str, Rating] = {}
    for attribute, dimension in DIMENSIONS.items():
        value = _number(root, attribute)
        if value is not None and LOW <= value <= HIGH:
            ratings[dimension] = Rating(value=value, low=LOW, high=HIGH)
        elif (text := root.get(attribute)) is not None:
            flaws.append(("bad-rating", f"{attribute} is {text[:20]!r}, expected {LOW} to {HIGH}: left out"))
    own, emotion = "", None
    if (text := _text(root, "feltEmo")) is not None:
        code = _number(root, "feltEmo")
        if code in MAHNOB_CODES:
            own, emotion = MAHNOB_CODES[int(code)]
        else:
            own = text[:20]
            flaws.append(("bad-emotion", f"feltEmo is {own!r}, expected one of {', '.join(map(str, MAHNOB_CODES))}"))
    if not ratings and emotion is None:
        raise MediaError("no-rating", f"{kind}: no rating from {LOW} to {HIGH} and no known emotion")
    return Label(source="self-report", own=own, emotion=emotion, ratings=ratings)


def _files(root: ElementTree.Element, camera: str) -> tuple[dict[str, str], frozenset[str]]:
    """Kind of a file to its name, the first of each kind; and all other names."""
    found: dict[str, str] = {}
    names: set[str] = set()
    for kind, name in _named(root, camera):
        names.add(name)
        if kind:
            found.setdefault(kind, name)
    return found, frozenset(names - set(found.values()))


def _named(root: ElementTree.Element, camera: str) -> Iterator[tuple[str, str]]:
    """The files that tracks and annotations name, each with its kind, "" for none that is used."""
    tracks = list(root.iter("track"))
    is_marked = any(track.get("color") is not None for track in tracks)
    for track in tracks:
        kind, name = (track.get("type") or "").lower(), track.get("filename")
        if name and kind == "video":
            is_wanted = camera in name if camera else track.get("color") == "1" or not is_marked
            yield "video" if is_wanted else "", name
        elif name:
            yield {"physiological": "bdf", "audio": "audio"}.get(kind, ""), name
    for annotation in root.iter("annotation"):
        if name := annotation.get("filename"):
            yield "gaze" if (annotation.get("type") or "").lower() == "gaze" else "", name


def _section(root: ElementTree.Element, prefix: str, flaws: list[Flaw]) -> Section | None:
    begin, end, rate = (_number(root, prefix + what) for what in ("BeginSmp", "EndSmp", "Rate"))
    if begin is None or rate is None:
        return None
    if rate <= 0 or begin < 0 or (end is not None and end <= begin):
        flaws.append(("bad-stretch", f"{prefix}BeginSmp {begin:g}, {prefix}EndSmp {end}, {prefix}Rate {rate:g}"))
        return None
    return Section(begin=begin, end=end, rate_hz=rate)


def _text(element: ElementTree.Element, name: str) -> str | None:
    return (element.get(name) or "").strip() or None


def _number(element: ElementTree.Element, name: str) -> float | None:
    """A number that is written as text, None where it is absent or none ("2.0" and "2" are the same)."""
    try:
        value = float(element.get(name, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e15 else None
