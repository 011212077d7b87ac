"""The whole path of a system on synthetic corpora, in minutes: sample -> prepare -> train -> report.

    make quickstart                                  # python experiments/quickstart.py DIRECTORY
    make quickstart SYSTEM=va_transformer            # python experiments/quickstart.py DIRECTORY va_transformer
    python experiments/quickstart.py DIRECTORY video_full --workers 2    # what follows is handed to the training

It prints the commands that it runs. Asked again, every step does only what is missing; systems share corpora and store.
Corpora, pictures and models are small, enough to see the path. Faces are embedded by a network with random weights,
since the published ones must be downloaded; the report says so.
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import affect_fusion
from mien.cli.main import leave, main

HERE = Path(__file__).parent


class System(NamedTuple):
    """What each command is told. corpora: name to the options that only its `mien prepare` has; ROOT is its folder.
    train: fields of the experiment in the script that has the system's name."""

    corpora: dict[str, str]
    sample: str
    features: str
    train: str


ACTED = {"ravdess": "", "cremad": ""}
OF_ACTED = "--subjects 4 --per-emotion 2"
FACE = "facenet --facenet.weights random --facenet.rate-hz"
FEW_CLIPS = "--training.batch-size 8 --training.average 0.9"  # so that an epoch has steps, and their average follows
VOICE_AND_FACE = System(ACTED, OF_ACTED, f"--features egemaps {FACE} 5", "--protocol.folds 2 --training.epochs 10")
SENSORS = System(
    {"mahnob": ""},
    "--subjects 4 --per-emotion 1",
    f"--features eeg-bands physio physio-raw {FACE} 1",
    f"--protocol.folds 4 --training.epochs 20 {FEW_CLIPS} --model.units 32",
)
SYSTEMS = {
    "sync_aug": VOICE_AND_FACE,
    "attention_focal": VOICE_AND_FACE,
    "va_transformer": System(
        {"ami": "--ami.ratings ROOT/ratings.csv"},
        "--subjects 12 --per-emotion 1",
        f"--features logmel {FACE} 2",
        f"--protocol.folds 3 --training.epochs 20 {FEW_CLIPS} --training.learning-rate 2e-3 "
        "--model.width 32 --model.heads 4 --model.layers 1 --model.feedforward 64 --model.step-s 0.1",
    ),
    "affect_ensemble": SENSORS,
    "affect_fusion": SENSORS,
    "video_full": System(
        ACTED,
        OF_ACTED,
        "--features frames --frames.size-px 32 --frames.rate-hz 10",
        f"--protocol.folds 2 --training.epochs 10 {FEW_CLIPS} --training.learning-rate 1e-3 "
        "--data.pictures 8 --model.blocks 1 1 1 1 --model.width 16 --model.lstm-units 32",
    ),
}


def commands(directory: Path, name: str) -> list[list[str]]:
    """The words of each command of mien, the training last."""
    system, script = SYSTEMS[name], str(HERE / f"{name}.py")
    corpora, store = directory / "corpora", ["--store", str(directory / "store")]
    steps = [["sample", str(corpora), "--corpora", *system.corpora, *system.sample.split()]]
    for corpus, options in system.corpora.items():
        root = str(corpora / corpus)
        own = [word.replace("ROOT", root) for word in options.split()]
        steps.append(["prepare", corpus, root, *store, *own, *system.features.split()])
    return [*steps, ["train", script, *store, "--storage", str(directory / "runs"), *system.train.split()]]


def quickstart(directory: Path, name: str, more: Sequence[str]) -> int:
    """Exit code of the first step that fails, else 0. more: words for the training."""
    start_s = time.monotonic()
    *before, train = commands(directory, name)
    code = 0
    for step in [*before, [*train, *more]]:
        if name == "affect_fusion" and step[0] == "train":  # several trainings: a script that is no single experiment
            print(f"\n$ python {shlex.join(step[1:])}", flush=True)
            code = affect_fusion.main(step[2:])
        else:
            print(f"\n$ mien {shlex.join(step)}", flush=True)
            code = main(step)
        if code:
            break
    print(f"\n{time.monotonic() - start_s:.0f} s. Corpora, store and runs: {directory}", flush=True)
    return code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, nargs="?", default=Path("quickstart"))
    parser.add_argument("system", choices=SYSTEMS, nargs="?", default="sync_aug")
    asked, more = parser.parse_known_args()
    leave(quickstart(asked.directory, asked.system, more))
