"""`make soak`: trainings killed at any moment, again and again, end as if nothing had killed them, bit for bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import ROOT
from mien.experiment import (
    AugmentConfig,
    DataConfig,
    ExecutionConfig,
    Experiment,
    LossConfig,
    MlpConfig,
    ProtocolConfig,
    TrainingConfig,
)
from mien.folder import Folder
from mien.results.run import Series
from mien.results.verify import verify
from tiny import write_store

pytestmark = [pytest.mark.soak, pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(3600)]

CLOCK = ("seconds", "data_s", "samples_per_s")


def experiment(place: Path, workers: int) -> Experiment:
    """Alone with dropout: what is drawn at random has to be drawn again as it was."""
    return Experiment(
        name="killed",
        data=DataConfig(corpora=("ravdess",), features=("voice", "row", "face")),
        protocol=ProtocolConfig(folds=2),
        augment=AugmentConfig(kind="sync"),
        loss=LossConfig(kind="cross-entropy"),
        model=MlpConfig(units=13, dropout=0.2 if not workers else 0.0),
        training=TrainingConfig(epochs=40, patience=40, batch_size=8),
        execution=ExecutionConfig(
            store=str(place / "store"),
            storage=str(place / "runs"),
            workers=workers,
            max_failures=50,
            save_every_s=0.0,
            baseline=False,
        ),
    )


def launch_here(place: str, workers: int) -> None:
    """What a process of its own does: the series, in slow motion."""
    from mien.training.launch import TrainingEvents, launch

    launch(experiment(Path(place), workers), TrainingEvents(on_epoch=lambda run, record: time.sleep(0.03)))


def start(place: Path, workers: int) -> subprocess.Popen[str]:
    paths = ":".join(map(str, [ROOT / "platform", ROOT / "tests", Path(__file__).parent]))
    return subprocess.Popen(
        [sys.executable, "-c", f"import test_training_kills as t; t.launch_here({str(place)!r}, {workers})"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "RAY_ADDRESS": "local"},
        start_new_session=True,
    )


def descendants(pid: int) -> list[int]:
    """Worker processes of Ray Train below a process."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children(recursive=True)
        return [child.pid for child in children if "RayTrainWorker" in " ".join(child.cmdline())]
    return []


def outcome(place: Path) -> list[tuple]:
    """All that is learnt, without the clock."""
    (name,) = (place / "runs" / "killed").iterdir()
    series = Series.open(str(name))
    return [
        (
            [{key: value for key, value in record.items() if key not in CLOCK} for record in run.history()],
            run.predictions().to_pylist(),
            run.folder.read_bytes("model/weights.npz"),
        )
        for run in series.runs()
    ]


@pytest.mark.parametrize(("workers", "n_kills", "between_s"), [(0, 90, (0.0, 5.0)), (2, 10, (15.0, 40.0))])
def test_killed_at_any_moment_it_ends_the_same(workers, n_kills, between_s, tmp_path, capsys):
    whole = tmp_path / "whole"
    write_store(str(whole / "store"))
    assert start(whole, workers).communicate()[1] is not None
    expected = outcome(whole)
    assert len(expected) == 2 and all(len(history) == 40 for history, *_ in expected)
    rng, killed, n_series = random.Random(workers), Counter[str](), 0
    while killed.total() < n_kills:
        n_series += 1
        place = tmp_path / f"{n_series}"
        write_store(str(place / "store"))
        process = start(place, workers)
        while True:
            try:
                _, err = process.communicate(timeout=rng.uniform(*between_s) if killed.total() < n_kills else None)
            except subprocess.TimeoutExpired:
                chosen = rng.choice([process.pid, *descendants(process.pid)])
                with suppress(ProcessLookupError):
                    os.kill(chosen, signal.SIGKILL)
                    killed["driver" if chosen == process.pid else "worker"] += 1
                continue
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, err
            process = start(place, workers)
        assert outcome(place) == expected
        assert not verify(Folder(place / "runs")).findings
        assert not list((place / "runs").rglob(".*.*")), "what was half written was swept"
    with capsys.disabled():
        print(f"\n{workers or 'no'} workers: {dict(killed)} kills over {n_series} series of two runs")
