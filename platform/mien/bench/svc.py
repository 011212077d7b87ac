"""From raw clips to a by-subject table of support vector machines: mien beside nkululeko, on the same clips.

Both are whole programs, started anew, so what a person waits for is counted: imports, Ray, figures. Both read the same
wav files, leave out the same people in each fold, and use the same features (88 eGeMAPSv02 functionals of a clip), the
same classes and scikit-learn's SVC (RBF, C = 1, probabilities on, classes weighted by their inverse frequency).

What is not equal: nkululeko standardises all clips once, by those of four fifths of the people, whoever is tested; mien
by each fold's own training clips. nkululeko keeps a table of scores, one plot, the features and the last fold's model;
mien a verified store, each fold's model and predictions, and a page with intervals over people and calibration.

nkululeko: Burkhardt et al., LREC 2022; https://github.com/felixbur/nkululeko.
"""

from __future__ import annotations

import csv
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from mien.connection import machine_cpus, search_path
from mien.corpora import ravdess
from mien.corpora.clip import Clip
from mien.corpora.emotions import VOCABULARIES, class_index
from mien.data.splits import make_splits
from mien.errors import MienError
from mien.experiment import (
    AugmentConfig,
    ClassesConfig,
    DataConfig,
    Experiment,
    LossConfig,
    ProtocolConfig,
    SvmConfig,
)
from mien.features.media import content_hash, decode

NKULULEKO = "1.14.1"
CUT_S = 2.4  # of the middle of each clip: RAVDESS' clips begin and end in silence
RATE_HZ = 16_000
FEATURE = "egemaps-clip"
# What nkululeko says as it begins a step, and of its score; it tells no times.
_BEGINS = {"features": "Extracting OpenSMILE", "folds, plot and table": "doing LOGO with"}
_SCORE = re.compile(r"LOGO: \d+ folds: mean ([\d.]+)")

TARGET = ClassesConfig(vocabulary="ravdess8")
EXPERIMENT = Experiment(
    name="bench-svc",
    data=DataConfig(corpora=("ravdess",), features=(FEATURE,)),
    target=TARGET,
    protocol=ProtocolConfig(folds=6),
    augment=AugmentConfig(kind="none"),
    loss=LossConfig(kind="cross-entropy", label_smoothing=0.0),
    model=SvmConfig(c=1.0),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One job from its start to its end. steps: seconds of each, in order. uar: its mean over the folds."""

    steps: dict[str, float]
    uar: float

    @property
    def total_s(self) -> float:
        """Seconds in all."""
        return sum(self.steps.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class SvcTiming:
    """The attempts of both, as many of one as of the other. n_clips: wav files that each of them reads."""

    n_clips: int
    mien: list[Attempt]
    nkululeko: list[Attempt]

    @property
    def ratio(self) -> float:
        """nkululeko's seconds over mien's, medians: above 1 mien is the quicker."""
        return median_s(self.nkululeko) / median_s(self.mien)


def median_s(attempts: Sequence[Attempt]) -> float:
    """The middle of the attempts' seconds."""
    return statistics.median(attempt.total_s for attempt in attempts)


def median_steps(attempts: Sequence[Attempt]) -> dict[str, float]:
    """The middle of the attempts' seconds for each step."""
    return {step: statistics.median(attempt.steps[step] for attempt in attempts) for step in attempts[0].steps}


def svc_timing(root: Path, environment: Path, *, n_rounds: int = 3) -> SvcTiming:
    """Run both n_rounds times from nothing, by turns first and second.

    root: RAVDESS' speech. environment: the virtual environment of nkululeko, made where there is none. Neither this
    nor the cutting of the clips is timed. Raises MienError where one of the two fails, with what it said last.
    """
    with TemporaryDirectory() as folder:
        cut, table = Path(folder, "ravdess"), Path(folder, "clips.csv")
        clips = cut_clips(root, cut)
        write_table(clips, table)
        python = nkululeko_python(environment)  # a minute where it is made: a wrong root has been told by now
        attempts: dict[str, list[Attempt]] = {"mien": [], "nkululeko": []}
        for number in range(n_rounds):
            for name in sorted(attempts, reverse=bool(number % 2)):
                place = Path(folder, f"{name}-{number}")
                place.mkdir()
                run = run_mien(cut, place) if name == "mien" else run_nkululeko(python, table, place)
                attempts[name].append(run)
    return SvcTiming(n_clips=len(clips), **attempts)


def nkululeko_python(environment: Path) -> Path:
    """The Python of an environment that has nkululeko, installed from the package index where it is missing."""
    python = (environment / "bin" / "python").absolute()
    probe = "import importlib.metadata as found; print(found.version('nkululeko'))"
    installed = subprocess.run([python, "-c", probe], capture_output=True, text=True) if python.exists() else None
    if installed is None:
        _checked([sys.executable, "-m", "venv", str(environment)])
    if installed is None or installed.stdout.strip() != NKULULEKO:
        _checked([str(python), "-m", "pip", "install", "--quiet", f"nkululeko=={NKULULEKO}"])
    return python


def cut_clips(root: Path, to: Path) -> list[Clip]:
    """Write the middle CUT_S of each speech clip as 16-bit wav at RATE_HZ, in RAVDESS' layout; the clips of those."""
    import soundfile

    for clip in ravdess.import_clips(root):
        if not isinstance(clip, Clip) or clip.attributes["channel"] != "speech" or "audio" not in clip.media:
            continue
        sound = decode("sound", clip.media["audio"], RATE_HZ)
        start = max(0, len(sound) - round(CUT_S * RATE_HZ)) // 2
        file = to / f"Actor_{clip.id[-2:]}" / f"03-{clip.id.removeprefix('ravdess/')}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, sound[start : start + round(CUT_S * RATE_HZ)], RATE_HZ, subtype="PCM_16")
    return [clip for clip in ravdess.import_clips(to) if isinstance(clip, Clip)]


def write_table(clips: Sequence[Clip], path: Path) -> None:
    """The clips as nkululeko reads them: file, emotion, speaker, and the fold of mien's that tests that speaker."""
    emotions = [label.emotion for clip in clips if (label := clip.label("intended")) and label.emotion]
    classes = [class_index(emotion, TARGET.vocabulary, TARGET.merge) for emotion in emotions]
    splits = make_splits(
        clip_ids=[clip.id for clip in clips],
        subjects=[clip.subject for clip in clips],
        corpora=[clip.corpus for clip in clips],
        copies=np.unique([content_hash(clip.media["audio"].path) for clip in clips], return_inverse=True)[1],
        strata=np.array(classes),
        protocol=EXPERIMENT.protocol,
    )
    fold = {int(row): split.fold for split in splits for row in split.test}
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "emotion", "speaker", "fold"])
        for row, (clip, emotion) in enumerate(zip(clips, emotions, strict=True)):
            rows.writerow([clip.media["audio"].path, emotion, clip.subject, fold[row]])


def run_mien(root: Path, place: Path) -> Attempt:
    """`mien prepare` and `mien train` of EXPERIMENT on a RAVDESS root, in an empty folder."""
    asked, store, runs = place / "experiment.json", str(place / "store"), str(place / "runs")
    asked.write_text(json.dumps(EXPERIMENT.to_json()))
    mien = [sys.executable, "-m", "mien"]
    started_s = perf_counter()
    prepare = [*mien, "prepare", "ravdess", str(root), "--store", store, "--features", FEATURE, "--json"]
    prepared = json.loads(_checked(prepare, PYTHONPATH=search_path()))
    prepared_s = perf_counter()
    train = [*mien, "train", str(asked), "--store", store, "--storage", runs, "--json"]
    _checked(train, PYTHONPATH=search_path())
    ended_s = perf_counter()
    (feature,) = prepared["features"]
    within = {
        "Ray's start": prepared["ray_startup_s"],
        "workers' start": feature["startup_s"],
        "features": feature["work_s"],
    }
    scores = [json.loads(path.read_text())["test"]["uar"] for path in Path(runs).rglob("fold-*/metrics.json")]
    if len(scores) != EXPERIMENT.protocol.folds:
        raise MienError(f"mien train: {len(scores)} folds were tested, not {EXPERIMENT.protocol.folds}")
    return Attempt(
        steps={
            **within,
            "rest of prepare": prepared_s - started_s - sum(within.values()),
            "folds and report": ended_s - prepared_s,
        },
        uar=statistics.mean(scores),
    )


def run_nkululeko(python: Path, table: Path, place: Path) -> Attempt:
    """The same from a table of `write_table`, by an environment's Python, in an empty folder."""
    settings = place / "exp.ini"
    classes = list(VOCABULARIES[TARGET.vocabulary])
    settings.write_text(
        _SETTINGS.format(
            place=place, table=table, classes=classes, folds=EXPERIMENT.protocol.folds, cores=machine_cpus()
        )
    )
    command = [str(python), "-m", "nkululeko.nkululeko", "--config", str(settings)]
    begun, started_s = {"imports and tables": 0.0}, perf_counter()
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=place, env=_environment()
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            begun |= {step: perf_counter() - started_s for step, words in _BEGINS.items() if words in line}
    total_s = perf_counter() - started_s
    score = _SCORE.search("".join(lines))
    if process.returncode or score is None or len(begun) != 1 + len(_BEGINS):
        raise MienError(f"nkululeko ended with {process.returncode} and without its score: {''.join(lines[-5:])}")
    ends = [*begun.values(), total_s]
    return Attempt(steps={step: ends[n + 1] - ends[n] for n, step in enumerate(begun)}, uar=float(score[1]))


_SETTINGS = """
[EXP]
root = {place}/
name = bench
epochs = 1
[DATA]
databases = ['clips']
clips = {table}
clips.type = csv
target = emotion
labels = {classes}
[FEATS]
type = ['os']
set = eGeMAPSv02
level = functionals
scale = standard
[MODEL]
type = svm
C_val = 1
class_weight = True
logo = {folds}
n_jobs = {cores}
"""


def _checked(command: Sequence[str], **environment: str) -> str:
    """What a program prints; MienError with its last words where it fails. environment: variables of its own."""
    done = subprocess.run(command, env=_environment(**environment), capture_output=True, text=True)
    if done.returncode:
        raise MienError(f"{' '.join(command[:4])} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _environment(**changed: str) -> dict[str, str]:
    """Without this Python's own path: pip would take what lies there for installed in the other environment."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | changed
