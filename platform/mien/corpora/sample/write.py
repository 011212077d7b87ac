"""Tiny synthetic corpora in the true on-disk layouts of RAVDESS and CREMA-D.

For trials, tests and the first five minutes; never for a result. Every root holds SYNTHETIC.json (from which
the importers mark each clip) and a README, and every media file says so in its comment tag.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

from mien.corpora import Progress, cremad, ravdess
from mien.corpora.emotions import CREMAD_CODES, RAVDESS_CODES
from mien.corpora.sample.face import act
from mien.corpora.sample.performance import Performance, Person, randomness
from mien.corpora.sample.recording import (
    COMMENT,
    FRAME_RATE_HZ,
    copy_pictures,
    write_flv,
    write_mp3,
    write_mp4,
    write_wav,
)
from mien.corpora.sample.voice import speak
from mien.corpora.tree import SYNTHETIC_MARKER
from mien.errors import CorpusError
from mien.folder import Folder

VOICE_RATE_HZ = 48_000

README = """\
SYNTHETIC corpus, written by `mien sample`.

No person speaks here and nobody voted. The face is a public-domain portrait (Eileen Collins, NASA; from
scikit-image) moved by a mesh, the voice is computed. Folder layouts, file names, formats and tables are those
of the corpora they are named after, so that a program that reads those can be tried; of the vote tables the
columns of counts and majorities are there. A score on them says that the program runs, and nothing about
emotion.
"""


Variant = TypeVar("Variant", bound=tuple[str, ...])


@dataclass(frozen=True)
class Take:
    """A performance and the name it is filed under."""

    stem: str
    performance: Performance


def write_sample(
    root: Path,
    corpora: Sequence[str] = ("ravdess", "cremad"),
    n_subjects: int = 4,
    n_per_emotion: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Write the corpora below root; returns corpus name to its root.

    n_per_emotion: clips of each subject and emotion, as far as the corpus has room for them (4 neutral and 8
    others in RAVDESS, 12 and 14 in CREMA-D). A corpus that lies there already, made with the same numbers, is
    left as it is. The same seed gives the same bytes (with the same FFmpeg); more subjects leave the first
    ones as they were.

    progress: called with (clips written, clips to write). Raises CorpusError where no corpus is named,
    something else lies in a corpus's place, or a number is out of range.
    """
    if not corpora:
        raise CorpusError(f"--corpora: none is named; choose from {', '.join(_PLANS)}")
    for corpus in corpora:
        if corpus not in _PLANS:
            raise CorpusError(f"no sample of corpus {corpus!r}: choose from {', '.join(_PLANS)}")
        n_most = _PLANS[corpus].n_subjects
        if not 1 <= n_subjects <= n_most:
            raise CorpusError(f"{n_subjects} subjects: {corpus} has 1 to {n_most}")
    if n_per_emotion < 1:
        raise CorpusError(f"{n_per_emotion} clips per emotion: at least 1 is needed")

    root = Path(Folder(root).make().uri)
    settings = {"n_subjects": n_subjects, "n_per_emotion": n_per_emotion, "seed": seed}
    to_write = [corpus for corpus in corpora if not _is_there(root / corpus, settings)]
    takes = {corpus: _PLANS[corpus].takes(n_subjects, n_per_emotion, seed) for corpus in to_write}
    n_takes, n_done = sum(map(len, takes.values())), 0
    for corpus in to_write:
        # Renamed when whole: a corpus cut off half-way is never taken for a small one.
        unfinished = root / f".{corpus}.partial"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        marker = {"synthetic": True, "corpus": corpus, "comment": COMMENT, **settings}
        (unfinished / SYNTHETIC_MARKER).write_text(json.dumps(marker, indent=2) + "\n")
        (unfinished / "README.txt").write_text(README)
        for take in takes[corpus]:
            _PLANS[corpus].record(unfinished, take)
            n_done += 1
            if progress:
                progress(n_done, n_takes)
        _PLANS[corpus].tabulate(unfinished, takes[corpus])
        unfinished.rename(root / corpus)
    return {corpus: root / corpus for corpus in corpora}


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


# ------------------------------------------------------------------ RAVDESS


def _ravdess_takes(n_subjects: int, n_per_emotion: int, seed: int) -> list[Take]:
    takes = []
    for actor in range(1, n_subjects + 1):
        person = Person(seed, f"ravdess {actor}", "male" if actor % 2 else "female")
        for code, (_, emotion) in RAVDESS_CODES.items():
            intensities = ("01",) if emotion == "neutral" else ("01", "02")
            variants = list(product(intensities, ("01", "02"), ("01", "02")))
            for intensity, statement, repetition in _choose(variants, n_per_emotion, person, emotion):
                name = f"01-{code}-{intensity}-{statement}-{repetition}-{actor:02d}"
                strength = 0.8 if intensity == "01" else 1.15
                n_syllables = 6 if statement == "01" else 7
                takes.append(Take(name, Performance(person, name, emotion, strength, n_syllables)))
    return takes


def _record_ravdess(root: Path, take: Take) -> None:
    actor = f"Actor_{take.stem[-2:]}"
    audio, video = root / "Audio_Speech_Actors_01-24" / actor, root / f"Video_Speech_{actor}" / actor
    audio.mkdir(parents=True, exist_ok=True)
    video.mkdir(parents=True, exist_ok=True)
    sound, pictures = (
        speak(take.performance, VOICE_RATE_HZ),
        list(act(take.performance, float(FRAME_RATE_HZ))),
    )
    write_wav(audio / f"03-{take.stem}.wav", sound, VOICE_RATE_HZ)
    write_mp4(video / f"01-{take.stem}.mp4", pictures, sound, VOICE_RATE_HZ)
    copy_pictures(video / f"01-{take.stem}.mp4", video / f"02-{take.stem}.mp4")


# ------------------------------------------------------------------ CREMA-D

STRENGTHS = {"LO": 0.6, "MD": 0.85, "HI": 1.15, "XX": 0.95}
WAV_RATE_HZ = 16_000
# Share of votes for the intended emotion by what the raters were given: voice, face, both. The published
# means are 41, 58 and 64 % (Cao et al. 2014).
RECOGNITION = {"1": 0.45, "2": 0.6, "3": 0.66}


def _cremad_takes(n_subjects: int, n_per_emotion: int, seed: int) -> list[Take]:
    takes = []
    for actor in cremad.ACTORS[:n_subjects]:
        person = Person(seed, f"cremad {actor}", _demographics(seed, actor)["Sex"].lower())
        for code, emotion in CREMAD_CODES.items():
            # Only "It's eleven o'clock" was said at three levels, and never so when neutral.
            levels = {"IEO": ("XX",) if code == "NEU" else ("LO", "MD", "HI")}
            variants = [(words, level) for words in cremad.SENTENCES for level in levels.get(words, ("XX",))]
            for words, level in _choose(variants, n_per_emotion, person, emotion):
                name = f"{actor}_{words}_{code}_{level}"
                n_syllables = min(len(cremad.SENTENCES[words].split()) + 2, 8)
                takes.append(Take(name, Performance(person, name, emotion, STRENGTHS[level], n_syllables)))
    return takes


def _record_cremad(root: Path, take: Take) -> None:
    import soxr

    for folder in cremad.FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    sound, pictures = (
        speak(take.performance, VOICE_RATE_HZ),
        list(act(take.performance, float(FRAME_RATE_HZ))),
    )
    write_wav(root / "AudioWAV" / f"{take.stem}.wav", soxr.resample(sound, VOICE_RATE_HZ, WAV_RATE_HZ), WAV_RATE_HZ)
    write_mp3(root / "AudioMP3" / f"{take.stem}.mp3", sound, VOICE_RATE_HZ)
    write_flv(root / "VideoFlash" / f"{take.stem}.flv", pictures, sound, VOICE_RATE_HZ)


def _tabulate_cremad(root: Path, takes: Sequence[Take]) -> None:
    """The demographics and both vote tables, in the columns of the published ones."""
    letters = {code[0]: emotion for code, emotion in CREMAD_CODES.items()}
    votes, summary = [], []
    for number, take in enumerate(takes, start=1):
        majorities: list[str] = []
        for condition in cremad.CONDITIONS:
            counts = _vote(take.performance, condition, list(letters.values()))
            majority = ":".join(letter for letter, n in zip(letters, counts) if n == max(counts))
            agreement = max(counts) / sum(counts)
            votes.append([f"{condition}{number:05d}", *counts, take.stem, sum(counts), agreement, majority])
            majorities += [majority, f"{100 * agreement:.1f}"]
        summary.append([number, take.stem, *majorities])
    seed = takes[0].performance.person.seed
    actors = [_demographics(seed, actor) for actor in dict.fromkeys(take.stem[:4] for take in takes)]
    _write_table(root / cremad.DEMOGRAPHICS, list(actors[0]), [list(actor.values()) for actor in actors])
    header = [
        "",
        "FileName",
        "VoiceVote",
        "VoiceLevel",
        "FaceVote",
        "FaceLevel",
        "MultiModalVote",
        "MultiModalLevel",
    ]
    _write_table(root / cremad.SUMMARY, header, summary)
    _write_table(root / cremad.VOTES, ["", *letters, "fileName", "numResponses", "agreement", "emoVote"], votes)


def _vote(performance: Performance, condition: str, emotions: Sequence[str]) -> list[int]:
    """Votes of seven to eleven raters: for the intended emotion, else rather for neutral than for another."""
    random = randomness(performance.person.seed, performance.name, "votes", condition)
    right = min(RECOGNITION[condition] * (0.4 + 0.6 * performance.strength) * random.uniform(0.7, 1.3), 0.95)
    shares = [2.0 if emotion == "neutral" else 0.6 for emotion in emotions]
    shares[emotions.index(performance.emotion)] = 0.0
    shares = [(1 - right) * share / sum(shares) for share in shares]
    shares[emotions.index(performance.emotion)] = right
    return random.multinomial(random.integers(7, 12), shares).tolist()


def _demographics(seed: int, actor: str) -> dict[str, str]:
    """One row of VideoDemographics.csv; every second actor is a woman, so that small samples hold both."""
    random = randomness(seed, actor, "demographics")
    return {
        "ActorID": actor,
        "Age": str(random.integers(20, 75)),
        "Sex": "Male" if int(actor) % 2 else "Female",
        "Race": "Unknown",
        "Ethnicity": "Not Hispanic",
    }


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


# ------------------------------------------------------------------ both


def _choose(variants: Sequence[Variant], n: int, person: Person, emotion: str) -> list[Variant]:
    """n of the variants (all where there are fewer), by the person and the emotion, in their own order."""
    order = randomness(person.seed, person.name, emotion, "variants").permutation(len(variants))
    return [variants[index] for index in sorted(order[:n])]


@dataclass(frozen=True)
class _Plan:
    n_subjects: int
    takes: Callable[[int, int, int], list[Take]]
    record: Callable[[Path, Take], None]
    tabulate: Callable[[Path, Sequence[Take]], None]


_PLANS = {
    "ravdess": _Plan(ravdess.CARD.n_subjects, _ravdess_takes, _record_ravdess, lambda root, takes: None),
    "cremad": _Plan(cremad.CARD.n_subjects, _cremad_takes, _record_cremad, _tabulate_cremad),
}
