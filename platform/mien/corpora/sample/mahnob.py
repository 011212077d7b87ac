"""A synthetic MAHNOB-HCI: sessions of short films, with BDF, face video, sound and gaze table, on clocks of their own.

As in the real one, the cut recordings begin a little before the film, their first sample a fraction later than the
cut, and the BDF begins some seconds earlier; only triggers and sample numbers tell how they belong together. The film
lasts some ten seconds and the time before it is short, so that a trial is small: the triggers must be read.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from mien.corpora.emotions import MAHNOB_CODES, VOCABULARIES
from mien.corpora.mahnob import EEG_CHANNELS, TRIALS
from mien.corpora.mahnob.session import HIGH, LOW
from mien.corpora.sample import biosignals
from mien.corpora.sample.face import act
from mien.corpora.sample.performance import Floats, Performance, Person, Take, choose, randomness
from mien.corpora.sample.raters import rate, shown
from mien.corpora.sample.recording import COMMENT, write_avi, write_wav

if TYPE_CHECKING:
    from collections.abc import Mapping

N_SUBJECTS = len(TRIALS)
SENSOR_RATE_HZ, FRAME_RATE_HZ, SOUND_RATE_HZ, GAZE_RATE_HZ = 256, 10, 16_000, 60
BEFORE_S, AFTER_S = 3.0, 3.0  # of the sensors around a film
REST_S = 1.0  # of the cut recordings after a film
TRIGGER, TRIGGER_S = 16, 0.125
_IN_RANGE = 1 << 20  # a bit of BioSemi's own in the Status channel

# Emotion to the films that bring it about; how strongly, and with what else, is each person's own.
N_FILMS = 20
EMOTIONS = VOCABULARIES["mahnob9"]
FILMS = {emotion: tuple(range(1 + place, N_FILMS + 1, len(EMOTIONS))) for place, emotion in enumerate(EMOTIONS)}

# What the tables of face and raters have no row for, as shares of what they have one for.
_MIXTURES = {"amusement": {"happiness": 0.85, "surprise": 0.35}, "anxiety": {"fear": 0.75, "sadness": 0.4}}
# Of a physical value: unit, and the range that a header states.
_UNITS = {"GSR": ("Ohm", 0.0, 4e6), "Erg": ("uV", -262144.0, 262144.0), "Resp": ("uV", -1e5, 1e5)}
_UNITS |= {"Temp": ("degC", -50.0, 100.0), "Status": ("Boolean", -8388608.0, 8388607.0)}


@dataclass(frozen=True)
class Watching(Performance):
    """One person who watches one film. Time runs on the clip's clock: the film begins at 0.

    film, trial: its number, and at which place this person saw it. from_s: when a recording of it begins.
    """

    film: int
    trial: int
    from_s: float = 0.0

    @property
    def session(self) -> int:
        return 130 * (int(self.person.name.removeprefix("mahnob ")) - 1) + 2 * self.trial

    @cached_property
    def film_s(self) -> float:
        """Length of the film, the same for all who see it, whole samples of the sensors."""
        return (
            round((9 + 3 * randomness(self.person.seed, "film", self.film).random()) * SENSOR_RATE_HZ) / SENSOR_RATE_HZ
        )

    @cached_property
    def event_s(self) -> float:
        """When the film is strongest: face, skin and EEG answer to it."""
        return self.film_s * float(0.3 + 0.35 * self.random[1])

    @cached_property
    def duration_s(self) -> float:
        """Of the cut recordings, from from_s on."""
        return self.film_s + REST_S - self.from_s

    def share(self, time_s: Floats) -> Floats:
        """Of the emotion that is felt at each time: 0 before the film, 0.35 to 1 in it."""
        peak = np.exp(-(((time_s - self.event_s) / (0.22 * self.film_s)) ** 2))
        return np.clip(time_s / 0.5, 0, 1) * (0.35 + 0.65 * peak)

    def expressed(self, time_s: Floats) -> Floats:
        return self.share(time_s + self.from_s)

    def voicing(self, time_s: Floats) -> Floats:
        return np.zeros_like(time_s)  # nobody speaks

    def blend(self, manners: Mapping[str, Sequence[float]], spread: Sequence[float]) -> Floats:
        neutral = np.asarray(manners["neutral"], np.float64)
        rows = {name: np.asarray(row, np.float64) for name, row in manners.items()}
        for name, shares in _MIXTURES.items():
            rows[name] = neutral + sum(share * (rows[other] - neutral) for other, share in shares.items())
        return super().blend({name: row.tolist() for name, row in rows.items()}, spread)


def takes(n_subjects: int, n_per_emotion: int, seed: int) -> list[Take]:
    found = []
    for number in list(TRIALS)[:n_subjects]:
        person = Person(seed, f"mahnob {number}", "male" if number % 2 else "female")
        order = randomness(seed, person.name, "order").permutation(N_FILMS).tolist()
        for emotion, films in FILMS.items():
            for (film,) in choose([(str(film),) for film in films], n_per_emotion, person, emotion):
                trial = order.index(int(film) - 1) + 1
                if trial > TRIALS[number]:
                    continue
                watching = Watching(person, f"film {film}", emotion, 1.0, 2, int(film), trial)
                found.append(Take(f"mahnob/{watching.session}", str(watching.session), watching))
    return found


def record(root: Path, take: Take) -> None:
    watching = take.performance
    assert isinstance(watching, Watching)
    person, session = watching.person.name.removeprefix("mahnob "), watching.session
    folder = root / "Sessions" / str(session)
    folder.mkdir(parents=True, exist_ok=True)
    random = randomness(watching.person.seed, watching.person.name, watching.name, "clocks")
    lead_s = float(0.1 + 0.4 * random.random())
    # The visit had run for a while when this session was cut out of it.
    visit_s = 60 * watching.trial + random.uniform(0, 30)
    sections = {
        name: (visit_s * rate_hz, (visit_s + lead_s + watching.film_s + REST_S) * rate_hz, float(rate_hz))
        for name, rate_hz in (("vid", FRAME_RATE_HZ), ("aud", SOUND_RATE_HZ))
    }
    first_s = {name: -lead_s + (math.ceil(begin) - begin) / rate for name, (begin, _, rate) in sections.items()}
    names = {
        "video": f"P{person}-Rec1-2009.07.09.17.53.46_C1 trigger _C_Section_{2 * watching.trial}.avi",
        "audio": f"P{person}-Rec1-Audio_Section_{2 * watching.trial}.wav",
        "bdf": f"Part_{person}_S_Trial{watching.trial}_emotion.bdf",
        "gaze": f"P{person}-Rec1-All-Data-New_Section_{2 * watching.trial}.tsv",
    }
    pictures = list(act(_from(watching, first_s["vid"]), float(FRAME_RATE_HZ)))
    write_avi(folder / names["video"], pictures, FRAME_RATE_HZ, size_px=pictures[0].size)
    _write_room(folder / names["audio"], _from(watching, first_s["aud"]))
    write_sensors(folder / names["bdf"], watching)
    _write_gaze(folder / names["gaze"], watching, lead_s, sections["aud"][0])
    _write_session(folder / "session.xml", watching, names, sections, lead_s)


def tabulate(root: Path, takes: Sequence[Take]) -> None:
    """Subjects/subject<N>.xml. What the real ones hold we do not know: sex and age stand in attributes here."""
    (root / "Subjects").mkdir(exist_ok=True)
    for person in {take.performance.person for take in takes}:
        number = person.name.removeprefix("mahnob ")
        age = str(randomness(person.seed, person.name, "age").integers(19, 41))  # the range of the real ones
        element = ElementTree.Element("subject", id=number, gender=person.sex, age=age)
        ElementTree.ElementTree(element).write(root / "Subjects" / f"subject{number}.xml", encoding="utf-8")


def _from(watching: Watching, from_s: float) -> Watching:
    values = (watching.person, watching.name, watching.emotion, watching.strength, watching.n_syllables)
    return Watching(*values, watching.film, watching.trial, from_s)


def write_sensors(path: Path, watching: Watching) -> None:
    """47 channels at 256 Hz in records of a second, with a trigger where the film begins and where it ends."""
    import edfio

    early = int(randomness(watching.person.seed, watching.person.name, watching.name, "early").integers(SENSOR_RATE_HZ))
    start = round(BEFORE_S * SENSOR_RATE_HZ) + early  # in no step with the records
    end = start + round(watching.film_s * SENSOR_RATE_HZ)
    n_records = math.ceil(end / SENSOR_RATE_HZ + AFTER_S)
    time_s = (np.arange(n_records * SENSOR_RATE_HZ) - start) / SENSOR_RATE_HZ
    valence, arousal = shown(watching)
    felt = biosignals.Felt(valence, arousal, watching.event_s, watching.share)
    channels = biosignals.record(watching.person, watching.name, felt, time_s, SENSOR_RATE_HZ)
    status = np.full(len(time_s), _IN_RANGE)
    for sample in (start, end):
        status[sample : sample + round(TRIGGER_S * SENSOR_RATE_HZ)] |= TRIGGER
    signals = []
    for name, values in {**channels, "Status": status}.items():
        unit, low, high = _UNITS.get(name.rstrip("12"), ("uV", -262144.0, 262144.0))
        signals.append(
            edfio.BdfSignal(
                np.clip(values, low, high).astype(np.float64),
                SENSOR_RATE_HZ,
                label=name,
                transducer_type="Active Electrode, pin type" if name in EEG_CHANNELS else "",
                physical_dimension=unit,
                physical_range=(low, high),
            )
        )
    recording = edfio.Recording(startdate=datetime.date(2009, 7, 9), additional=(COMMENT.split(":")[0],))
    edfio.Bdf(signals, recording=recording, starttime=datetime.time(17, 53, 46), data_record_duration=1).write(path)


def _write_room(path: Path, watching: Watching) -> None:
    """The sound of a quiet room in which somebody stirs when the film is strongest."""
    random = randomness(watching.person.seed, watching.person.name, watching.name, "room")
    n_samples = round(watching.duration_s * SOUND_RATE_HZ)
    time_s = np.arange(n_samples) / SOUND_RATE_HZ + watching.from_s
    loudness = 0.002 + 0.01 * max(shown(watching)[1], 0) * np.exp(-(((time_s - watching.event_s) / 0.4) ** 2))
    write_wav(path, (loudness * random.standard_normal(n_samples)).astype(np.float32), SOUND_RATE_HZ)


def _write_gaze(path: Path, watching: Watching, lead_s: float, first_sample: float) -> None:
    """The eye tracker's table: 23 lines about the recording, then 60 rows a second; -1 where it saw no eye."""
    random = randomness(watching.person.seed, watching.person.name, watching.name, "gaze")
    time_s = np.arange(round((lead_s + watching.film_s + REST_S) * GAZE_RATE_HZ)) / GAZE_RATE_HZ - lead_s
    start_ms = float(random.integers(10_000, 90_000))  # its own clock
    pupil_mm = 3.4 + 0.3 * watching.person.draw("pupil")[0] + 0.5 * shown(watching)[1] * watching.share(time_s)
    rows = [f"{COMMENT}\n"] + ["\n"] * 22
    rows.append("Timestamp\tGazePointX\tGazePointY\tPupilLeft\tPupilRight\tEvent\tAudioSampleNumber\n")

    def row(at_s: float, cells: str, event: str = "", sample: str = "") -> tuple[float, str]:
        return at_s, f"{start_ms + 1000 * at_s:.3f}\t{cells}\t{event}\t{sample}\n"

    table = [row(0.0, "\t\t\t", "MovieStart"), row(watching.film_s, "\t\t\t", "MovieEnd")]
    for k, (at_s, mm) in enumerate(zip(time_s.tolist(), pupil_mm.tolist())):
        x, y = (500 + 40 * random.standard_normal(2)).round().astype(int).tolist()
        seen = f"{x}\t{y}\t{mm:.2f}\t{mm + 0.02 * random.standard_normal():.2f}"
        sample = f"{first_sample + (at_s + lead_s) * SOUND_RATE_HZ:.3f}" if k % GAZE_RATE_HZ == 0 else ""
        table.append(row(at_s, "-1\t-1\t-1\t-1" if random.random() < 0.02 else seen, sample=sample))
    path.write_text("".join(rows + [text for _, text in sorted(table)]))


def _write_session(
    path: Path,
    watching: Watching,
    names: Mapping[str, str],
    sections: Mapping[str, tuple[float, float, float]],
    lead_s: float,
) -> None:
    """The self-report: the emotion of the film, and what a rater of themselves says of valence and arousal."""
    random = randomness(watching.person.seed, watching.person.name, watching.name, "report")
    valence, arousal = rate(watching, "self")
    others = 5 + np.array([1.2 * shown(watching)[0], 0.0]) + 1.2 * random.standard_normal(2)
    control, predictability = np.clip(np.rint(others), LOW, HIGH).astype(int).tolist()
    code = next(code for code, (_, emotion) in MAHNOB_CODES.items() if emotion == watching.emotion)
    attributes = {
        "sessionId": str(watching.session),
        "date": "2009-07-09",
        "time": "17:53:46",
        "experimentType": "emotion elicitation",
        "isStim": "1",
        "feltEmo": str(code),
        "feltArsl": str(arousal),
        "feltVlnc": str(valence),
        "feltCtrl": str(control),
        "feltPred": str(predictability),
        "cutNr": str(2 * watching.trial),
        "cutLenSec": f"{lead_s + watching.film_s + REST_S:.3f}",
        "mediaFile": f"{watching.film}.avi",
    }
    for prefix, (begin, end, rate_hz) in sections.items():
        stated = {"Rate": rate_hz, "BeginSmp": begin, "EndSmp": end}
        attributes |= {prefix + what: f"{value:.6f}" for what, value in stated.items()}
    root = ElementTree.Element("session", attributes)
    ElementTree.SubElement(root, "subject", id=watching.person.name.removeprefix("mahnob "))
    video = ElementTree.SubElement(root, "track", type="Video", color="1", filename=names["video"])
    ElementTree.SubElement(video, "annotation", type="Gaze", filename=names["gaze"])
    ElementTree.SubElement(root, "track", type="Audio", filename=names["audio"])
    ElementTree.SubElement(root, "track", type="Physiological", filename=names["bdf"])
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
