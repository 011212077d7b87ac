"""A synthetic CREMA-D: wav, mp3 and flv in the published folders, with the demographics and both vote tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from mien.corpora import cremad
from mien.corpora.emotions import CREMAD_CODES
from mien.corpora.sample.face import act
from mien.corpora.sample.performance import Performance, Person, Take, choose, randomness
from mien.corpora.sample.raters import write_ratings
from mien.corpora.sample.recording import FRAME_RATE_HZ, write_flv, write_mp3, write_wav
from mien.corpora.sample.voice import VOICE_RATE_HZ, speak

N_SUBJECTS = 91
STRENGTHS = {"LO": 0.6, "MD": 0.85, "HI": 1.15, "XX": 0.95}
WAV_RATE_HZ = 16_000
# Share of votes for the intended emotion by what the raters were given: voice, face, both. The published
# means are 41, 58 and 64 % (Cao et al. 2014).
RECOGNITION = {"1": 0.45, "2": 0.6, "3": 0.66}


def takes(n_subjects: int, n_per_emotion: int, seed: int) -> list[Take]:
    found = []
    for actor in cremad.ACTORS[:n_subjects]:
        person = Person(seed, f"cremad {actor}", _demographics(seed, actor)["Sex"].lower())
        for code, emotion in CREMAD_CODES.items():
            # Only "It's eleven o'clock" was said at three levels, and never so when neutral.
            levels = {"IEO": ("XX",) if code == "NEU" else ("LO", "MD", "HI")}
            variants = [(words, level) for words in cremad.SENTENCES for level in levels.get(words, ("XX",))]
            for words, level in choose(variants, n_per_emotion, person, emotion):
                name = f"{actor}_{words}_{code}_{level}"
                n_syllables = min(len(cremad.SENTENCES[words].split()) + 2, 8)
                found.append(
                    Take(f"cremad/{name}", name, Performance(person, name, emotion, STRENGTHS[level], n_syllables))
                )
    return found


def record(root: Path, take: Take) -> None:
    import soxr

    for folder in cremad.FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    sound, pictures = speak(take.performance, VOICE_RATE_HZ), list(act(take.performance, float(FRAME_RATE_HZ)))
    write_wav(root / "AudioWAV" / f"{take.stem}.wav", soxr.resample(sound, VOICE_RATE_HZ, WAV_RATE_HZ), WAV_RATE_HZ)
    write_mp3(root / "AudioMP3" / f"{take.stem}.mp3", sound, VOICE_RATE_HZ)
    write_flv(root / "VideoFlash" / f"{take.stem}.flv", pictures, sound, VOICE_RATE_HZ)


def tabulate(root: Path, takes: Sequence[Take]) -> None:
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
    levels = ("VoiceVote", "VoiceLevel", "FaceVote", "FaceLevel", "MultiModalVote", "MultiModalLevel")
    _write_table(root / cremad.SUMMARY, ["", "FileName", *levels], summary)
    _write_table(root / cremad.VOTES, ["", *letters, "fileName", "numResponses", "agreement", "emoVote"], votes)
    write_ratings(root, takes)


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
