"""What test_hosts submits as one job: sample corpora -> features -> a tiny training.

python prepare_and_train.py CORPORA STORE STORAGE WORKERS
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from mien.cli.main import main
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    ExecutionConfig,
    Experiment,
    LstmAttentionConfig,
    ProtocolConfig,
    TrainingConfig,
)

EXPERIMENT = Experiment(
    name="hosts",
    data=DataConfig(corpora=("ravdess",), features=("egemaps",)),
    protocol=ProtocolConfig(folds=2),
    augment=AugmentConfig(kind="none"),
    # Nothing drawn inside the model: each worker would draw its own.
    model=LstmAttentionConfig(lstm_units=4, dense_units=5, dropout=0.0, row_dropout=0.0, input_noise=0.0),
    # From an epoch to the next Ray Train lets 2 s pass (RAY_TRAIN_HEALTH_CHECK_INTERVAL_S): time to lose a host.
    training=TrainingConfig(epochs=8, keep="last", batch_size=16),
)


def run(corpora: str, store: str, storage: str, workers: str) -> int:
    """Exit code of the first step that fails, else 0."""
    execution = ExecutionConfig(
        store=store,
        storage=storage,
        only_folds=(0,),
        workers=int(workers),
        min_workers=min(1, int(workers)),
        baseline=False,
    )
    asked = Path(tempfile.mkdtemp()) / "hosts.json"
    asked.write_text(json.dumps(dataclasses.replace(EXPERIMENT, execution=execution).to_json()))
    steps = [["sample", corpora, "--corpora", "ravdess"]]
    steps += [["prepare", "ravdess", f"{corpora}/ravdess", "--store", store, "--workers", "2"]]
    steps += [["train", str(asked)]]
    for step in steps:
        print("$ mien", *step, flush=True)
        if code := main(step):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
