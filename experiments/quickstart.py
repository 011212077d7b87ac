"""The whole path on synthetic corpora, in minutes: sample -> prepare -> train sync_aug -> report.

    make quickstart        # or: python experiments/quickstart.py DIRECTORY

Faces are embedded by a network with random weights, since the published ones must be downloaded; the report says so.
Five of them a second, and two clips per person and emotion, are enough to see the path.
Asked again, every step does only what is missing.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

from mien.cli.main import leave, main
from mien.experiment import ExecutionConfig, ProtocolConfig, TrainingConfig
from sync_aug import EXPERIMENT as SYNC_AUG

EXPERIMENT = dataclasses.replace(
    SYNC_AUG,
    name="quickstart",
    protocol=ProtocolConfig(folds=2),
    training=TrainingConfig(epochs=10),
)
SAMPLE = ("--subjects", "4", "--per-emotion", "2")
FEATURES = ("--features", "egemaps", "facenet", "--facenet.weights", "random", "--facenet.rate-hz", "5")


def quickstart(directory: Path) -> int:
    """Exit code of the first step that fails, else 0."""
    start_s = time.monotonic()
    corpora, store = directory / "corpora", directory / "store"
    steps = [["sample", str(corpora), *SAMPLE]]
    for corpus in ("ravdess", "cremad"):
        steps.append(["prepare", corpus, str(corpora / corpus), "--store", str(store), *FEATURES])
    for step in steps:
        print(f"\n$ mien {' '.join(step)}", flush=True)
        if code := main(step):
            return code
    execution = ExecutionConfig(store=str(store), storage=str(directory / "runs"))
    saved = directory / "quickstart.json"
    saved.write_text(_json(dataclasses.replace(EXPERIMENT, execution=execution)))
    print(f"\n$ mien train {saved}", flush=True)
    code = main(["train", str(saved)])
    print(f"\n{time.monotonic() - start_s:.0f} s. Corpora, store and runs: {directory}", flush=True)
    return code


def _json(experiment) -> str:
    import json

    return json.dumps(experiment.to_json(), indent=2) + "\n"


if __name__ == "__main__":
    leave(quickstart(Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart")))
