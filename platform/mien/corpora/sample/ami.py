"""A synthetic AMI: meetings of four in the published folders, headset wav and closeup avi, NXT XML and ratings.

Four people form a series that meets twice; for the second meeting they change seats, so letter, headset and camera are
others. What each of them says is performed on the clock of the meeting, by voice and face alike: they do not listen to
each other, and often speak at once. A take is what was recorded of one person in one meeting.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from mien.corpora.cremad import SENTENCES
from mien.corpora.sample.face import act
from mien.corpora.sample.performance import SILENCE_S, Performance, Person, randomness
from mien.corpora.sample.raters import HIGH, LOW, PROTOTYPES, RATERS, TABLE, rate, shown
from mien.corpora.sample.recording import write_avi, write_wav
from mien.corpora.sample.voice import speak

if TYPE_CHECKING:
    from PIL.Image import Image

N_SUBJECTS = 40
TAKES_OF_A_PROCESS = 2
WAV_RATE_HZ = 16_000
AVI_RATE_HZ, AVI_SIZE_PX = 25, (352, 288)
SEATS = "ABCD"
CAMERAS = ((1, 4, 2, 3), (2, 3, 1, 4))  # of the seats, in the first and in the second meeting
ROLES = ("PM", "ME", "UI", "ID")
LANGUAGES = ("English", "English", "Dutch", "French")
PAUSE_S = (0.4, 1.6)
ROOM = 0.0015  # standard deviation of the noise of the room
ANNOTATIONS = "ami_public_manual_1.6.2"
# What a clearly pleasant or unpleasant utterance is, in three of four cases, and what any other is.
POSITIVE, NEGATIVE, OTHERS = "ami_da_14", "ami_da_15", ("ami_da_4", "ami_da_6", "ami_da_9", "ami_da_1")
_ACTS = "bck stl fra inf el.inf sug off el.sug ass - el.ass und el.und be.pos be.neg oth"  # there is no 10
ACT_TYPES = {f"ami_da_{number}": name for number, name in enumerate(_ACTS.split(), start=1) if name != "-"}


@dataclass(frozen=True)
class Turn:
    """One utterance. start_s: on the clock of the meeting, a whole number of pictures and of samples."""

    start_s: float
    performance: Performance
    words: tuple[str, ...]

    @property
    def end_s(self) -> float:
        return self.start_s + self.performance.duration_s

    @property
    def word_times_s(self) -> list[tuple[float, float]]:
        edges = np.linspace(self.start_s + SILENCE_S, self.end_s - SILENCE_S, len(self.words) + 1)
        return [(float(start), float(end)) for start, end in pairwise(edges)]


@dataclass(frozen=True)
class Track:
    """What is recorded of one person in one meeting. length_s: of the meeting."""

    meeting: str
    letter: str
    headset: int
    camera: int
    participant: str
    turns: tuple[Turn, ...]
    length_s: float

    @property
    def name(self) -> str:
        return f"{self.meeting}.{self.letter}"

    @property
    def person(self) -> Person:
        return self.turns[0].performance.person


def takes(n_subjects: int, n_per_emotion: int, seed: int) -> list[Track]:
    found = []
    for series in range(-(-n_subjects // len(SEATS))):
        for number, suffix in enumerate("ab"):
            # All four are planned, whoever is there: more subjects leave the others' recordings as they were.
            planned = [
                _track(series, number, f"ES{9001 + series}{suffix}", place, n_per_emotion, seed)
                for place in range(len(SEATS))
            ]
            length_s = float(np.ceil(max(track.turns[-1].end_s for track in planned))) + 1
            present = planned[: n_subjects - series * len(SEATS)]
            found += [Track(**{**vars(track), "length_s": length_s}) for track in present]
    return found


def _track(series: int, number: int, meeting: str, place: int, n_per_emotion: int, seed: int) -> Track:
    """The turns of the place-th person of a series in its first or second meeting."""
    person_number = 901 + series * len(SEATS) + place
    sex = "male" if person_number % 2 else "female"
    participant = f"{sex[0].upper()}EE{person_number}"
    person = Person(seed, f"ami {participant}", sex)
    emotions = [(emotion, time) for emotion in PROTOTYPES for time in range(n_per_emotion)]
    order = randomness(seed, participant, "order").permutation(len(emotions))[number::2]
    random = randomness(seed, participant, meeting, "turns")
    turns: list[Turn] = []
    at_s = 0.0
    for index in order:
        emotion, time = emotions[index]
        sentence = tuple(SENTENCES.values())[random.integers(len(SENTENCES))]
        words = tuple(sentence.split())
        strength = float(random.uniform(0.7, 1.2))
        performance = Performance(person, f"{meeting} {emotion} {time}", emotion, strength, min(len(words) + 2, 8))
        start_s = float(np.ceil((at_s + random.uniform(*PAUSE_S)) * AVI_RATE_HZ) / AVI_RATE_HZ)
        turns.append(Turn(start_s, performance, words))
        at_s = turns[-1].end_s
    seat = (place + number) % len(SEATS)
    return Track(meeting, SEATS[seat], seat, CAMERAS[number][seat], participant, tuple(turns), at_s)


def record(root: Path, take: Track) -> None:
    folder = root / "amicorpus" / take.meeting
    for name in ("audio", "video"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    random = randomness(take.person.seed, take.meeting, take.participant, "room")
    sound = ROOM * random.standard_normal(round(take.length_s * WAV_RATE_HZ)).astype(np.float32)
    for turn in take.turns:
        spoken = speak(turn.performance, WAV_RATE_HZ)
        first = round(turn.start_s * WAV_RATE_HZ)
        sound[first : first + len(spoken)] += spoken
    write_wav(_headset(root, take), np.clip(sound, -1, 1), WAV_RATE_HZ)
    closeup = folder / "video" / f"{take.meeting}.Closeup{take.camera}.avi"
    write_avi(closeup, _pictures(take), AVI_RATE_HZ, size_px=AVI_SIZE_PX, codec_tag="DX50")


def _headset(root: Path, take: Track) -> Path:
    return root / "amicorpus" / take.meeting / "audio" / f"{take.meeting}.Headset-{take.headset}.wav"


def _pictures(take: Track) -> Iterator[Image]:
    """From the start of the meeting to its end; between two utterances the face stays as it was."""
    n_all, n_given, still = round(take.length_s * AVI_RATE_HZ), 0, None
    for turn in take.turns:
        for picture in act(turn.performance, AVI_RATE_HZ / 2):  # each shown twice: faces take most of the time here
            still = still or picture
            first = max(n_given, round(turn.start_s * AVI_RATE_HZ))
            yield from [still] * (first - n_given)
            yield from [picture] * 2
            n_given, still = first + 2, picture
    if still:
        yield from [still] * (n_all - n_given)


def tabulate(root: Path, takes: Sequence[Track]) -> None:
    """The mix of the headsets of each meeting, the annotations, and the ratings, which are the sample's own."""
    import soundfile

    for meeting, tracks in groupby(takes, key=lambda track: track.meeting):
        sounds = [soundfile.read(_headset(root, track), dtype="float32")[0] for track in tracks]
        mix = np.clip(np.sum(sounds, axis=0), -1, 1)
        write_wav(root / "amicorpus" / meeting / "audio" / f"{meeting}.Mix-Headset.wav", mix, WAV_RATE_HZ)
    write_annotations(root, takes)
    with (root / TABLE).open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        columns = ("start_s", "end_s", "valence", "arousal", "annotator", "low", "high")
        writer.writerow(["meeting", "participant", *columns])
        for track in takes:
            for turn in track.turns:
                for rater in RATERS:
                    times = f"{turn.start_s:.3f}", f"{turn.end_s:.3f}"
                    points = rate(turn.performance, rater)
                    writer.writerow([track.meeting, track.participant, *times, *points, rater, LOW, HIGH])


def write_annotations(root: Path, takes: Sequence[Track]) -> None:
    """The NXT files of these meetings."""
    _write_resources(root / ANNOTATIONS, takes)
    for track in takes:
        _write_speech(root / ANNOTATIONS, track)


def _write_resources(folder: Path, takes: Sequence[Track]) -> None:
    """meetings.xml, participants.xml and da-types.xml."""
    meetings = []
    for number, (meeting, tracks) in enumerate(groupby(takes, key=lambda track: track.meeting)):
        listed = sorted(tracks, key=lambda track: track.letter)
        meetings += [
            f'<meeting nite:id="meet_{number}" observation="{meeting}" type="scenario" '
            f'duration="{listed[0].length_s:g}">',
            *(
                f'   <speaker nite:id="{track.meeting}_{place}" camera="Closeup{track.camera}" '
                f'channel="{track.headset}" nxt_agent="{track.letter}" global_name="{track.participant}" '
                f'role="{ROLES[int(track.participant[-3:]) % len(ROLES)]}"/>'
                for place, track in enumerate(listed)
            ),
            "</meeting>",
        ]
    _write(folder / "corpusResources" / "meetings.xml", "meet.00", meetings)
    people = {track.participant: track.person for track in takes}
    _write(
        folder / "corpusResources" / "participants.xml",
        "part.00",
        [
            f'<participant nite:id="{name}" sex="{person.sex[0].upper()}" age_at_collection="{20 + int(name[-2:])}" '
            f'native_language="{LANGUAGES[int(name[-3:]) % len(LANGUAGES)]}"/>'
            for name, person in people.items()
        ],
    )
    acts = [f'<da-type nite:id="{id}" name="{name}"/>' for id, name in ACT_TYPES.items()]
    _write(folder / "ontologies" / "da-types.xml", "cmrda", acts)


def _write_speech(folder: Path, track: Track) -> None:
    """segments, words and dialogueActs of one seat."""
    words: list[str] = []
    segments: list[str] = []
    acts: list[str] = []

    def add_word(tag: str, times_s: tuple[float, float], attributes: str = "", text: str = "") -> None:
        times = f'starttime="{times_s[0]:.2f}" endtime="{times_s[1]:.2f}"'
        start = f'<{tag} nite:id="{track.name}.words{len(words)}" {times}{attributes}'
        words.append(f"{start}>{escape(text)}</{tag}>" if text else f"{start}/>")

    for number, turn in enumerate(track.turns):
        first = len(words)
        times_s = turn.word_times_s
        for word, times in zip(turn.words, times_s):
            add_word("w", times, text=word)
        said_s = times_s[-1][1]
        add_word("w", (said_s, said_s), ' punc="true"', ".")
        performance = turn.performance
        random = randomness(performance.person.seed, performance.name, track.participant, "annotation")
        valence = shown(performance)[0]
        if performance.emotion == "happiness" and random.random() < 0.5:
            add_word("vocalsound", (said_s, said_s + 0.1), ' type="laugh"')
        child = f"{track.name}.words.xml#id({track.name}.words{first})..id({track.name}.words{len(words) - 1})"
        child = f"   <nite:child href={quoteattr(child)}/>"
        at = f'transcriber_start="{turn.start_s:.3f}" transcriber_end="{turn.end_s:.3f}"'
        sync = f'nite:id="{track.name}.sync.{number}" channel="{track.headset}"'
        segments += [f"<segment {sync} {at}>", child, "</segment>"]
        polarity = POSITIVE if valence > 0 else NEGATIVE
        is_clear = abs(valence) > 0.35 and random.random() < 0.75
        kind = polarity if is_clear else OTHERS[random.integers(len(OTHERS))]
        pointer = f'   <nite:pointer role="da-aspect" href="da-types.xml#id({kind})"/>'
        acts += [f'<dact nite:id="{track.name}.dialog-act.mien.{number}">', pointer, child, "</dact>"]
    _write(folder / "segments" / f"{track.name}.segments.xml", f"{track.name}.segs", segments)
    _write(folder / "words" / f"{track.name}.words.xml", f"{track.name}.words", words)
    _write(folder / "dialogueActs" / f"{track.name}.dialog-act.xml", f"{track.name}.dialog-act", acts)


def _write(path: Path, id: str, lines: Sequence[str]) -> None:
    """One NXT file, in the encoding that AMI's have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = ['<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>']
    head.append(f'<nite:root nite:id="{id}" xmlns:nite="http://nite.sourceforge.net/">')
    text = "\n".join([*head, *(f"   {line}" for line in lines), "</nite:root>\n"])
    path.write_text(text, encoding="iso-8859-1")
