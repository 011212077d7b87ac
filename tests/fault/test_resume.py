"""A run that is killed and asked for again ends as if it had never been killed, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from mien.data.splits import Split
from mien.errors import LeakError
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    Experiment,
    LstmAttentionConfig,
    ProtocolConfig,
    TrainingConfig,
)
from mien.folder import Folder
from mien.results.run import Run
from tiny import dataset

pytestmark = [pytest.mark.tensorflow, pytest.mark.fault]

EPOCHS = 5
EXPERIMENT = Experiment(
    name="resume",
    data=DataConfig(features=("voice", "row", "face")),
    protocol=ProtocolConfig(folds=2),
    augment=AugmentConfig(kind="sync"),
    # Dropout and noise on: what is drawn at random has to be drawn again as it was.
    model=LstmAttentionConfig(conv_filters=3, lstm_units=5, row_units=3, dense_units=7, input_noise=0.1, auxiliary=0.3),
    training=TrainingConfig(epochs=EPOCHS, patience=EPOCHS, batch_size=8),
)


def split() -> Split:
    data = dataset()
    return data.splits(EXPERIMENT.protocol)[0]


def train(folder: Path, report=lambda record: None) -> Run:
    from mien.training.loop import train_run

    run = Run(Folder(folder), seed=2, fold=0)
    train_run(run, EXPERIMENT, dataset(), split(), report=report)
    return run


def learner_of(run: Run) -> dict[str, np.ndarray]:
    import io

    checkpoint = run.checkpoint(EPOCHS)
    assert checkpoint is not None
    with np.load(io.BytesIO(checkpoint.files["learner.npz"])) as arrays:
        return {name: arrays[name] for name in arrays.files}


def assert_same_run(one: Run, other: Run) -> None:
    """Same weights, same optimiser, same history but for the clock, same predictions."""
    weights, others = learner_of(one), learner_of(other)
    assert weights.keys() == others.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(array, others[name])
    clock = ("seconds", "data_s", "samples_per_s")
    histories = [
        [{k: v for k, v in record.items() if k not in clock} for record in run.history()] for run in (one, other)
    ]
    assert histories[0] == histories[1]
    assert one.predictions().equals(other.predictions())


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Run:
    """The run that nothing disturbs."""
    return train(tmp_path_factory.mktemp("straight"))


@pytest.mark.parametrize("last_epoch", [1, 3])
def test_stopped_after_an_epoch_and_asked_again(tmp_path, straight, last_epoch):
    def stop(record):
        if record["epoch"] == last_epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop)
    assert len(Run(Folder(tmp_path), 2, 0).history()) == last_epoch
    assert_same_run(train(tmp_path), straight)


def test_a_torn_newest_checkpoint_costs_one_epoch_and_no_more(tmp_path, straight):
    def stop(record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop)
    torn = tmp_path / "checkpoints" / "epoch-0003" / "learner.npz"
    torn.write_bytes(torn.read_bytes()[:-100])
    epochs = []
    assert_same_run(train(tmp_path, lambda record: epochs.append(record["epoch"])), straight)
    assert epochs == [3, 4, 5]


def test_killed_by_the_kernel_in_the_middle(tmp_path, straight):
    code = textwrap.dedent(
        f"""
        import sys, time
        sys.path[:0] = [{str(ROOT / "platform")!r}, {str(ROOT / "tests")!r}, {str(ROOT / "tests" / "fault")!r}]
        from pathlib import Path
        import test_resume
        test_resume.train(Path({str(tmp_path)!r}), lambda record: time.sleep(0.3))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline_s = time.monotonic() + 120
    while not (tmp_path / "checkpoints" / "epoch-0002" / "MANIFEST.json").exists():
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "DONE").exists()
    assert_same_run(train(tmp_path), straight)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = train(tmp_path)
    before = first.folder.read_bytes("predictions.parquet")
    train(tmp_path, lambda record: pytest.fail("trained again"))
    assert first.folder.read_bytes("predictions.parquet") == before


def test_refuses_to_start_where_a_subject_stands_on_two_sides(tmp_path):
    from mien.training.loop import train_run

    data, whole = dataset(), split()
    leaky = Split(0, "leaky", np.sort(np.append(whole.train, whole.test[0])), whole.validation, whole.test[1:])
    with pytest.raises(LeakError, match="c/s"):
        train_run(Run(Folder(tmp_path), 0, 0), EXPERIMENT, data, leaky)
    assert not (tmp_path / "history.jsonl").exists()
