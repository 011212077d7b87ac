"""`ray job submit` of the working directory against a local head with token authentication."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time

import pytest

from heads import running_head, submit
from mien.experiment import ExecutionConfig

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def head():
    with running_head() as head:
        yield head


def test_a_job_prepares_with_the_code_of_the_working_directory(head, tmp_path):
    from mien.corpora.sample.write import write_sample
    from mien.features.store import FeatureStore

    roots = write_sample(tmp_path, corpora=("cremad",), n_subjects=1, n_per_emotion=1)
    words = ["cremad", str(roots["cremad"]), "--store", str(tmp_path / "store"), "--workers", "1"]
    done = submit(head, "python", "experiments/prepare.py", *words)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    store = FeatureStore(str(tmp_path / "store"))
    spec = store.spec("cremad", "egemaps")
    assert len(store.load("cremad", spec)) == len(store.clips("cremad")) > 0
    where = submit(head, "python", "-c", "import mien, os; print(os.path.abspath(mien.__file__))")
    assert "working_dir_files" in where.stdout, "a stale install was imported instead of the working directory"


def test_an_experiment_of_a_torch_family_is_a_job_of_two_workers(head, tmp_path):
    from mien.results.run import Series
    from tiny import write_store

    write_store(str(tmp_path / "store"))
    words = ["--store", str(tmp_path / "store"), "--storage", str(tmp_path / "runs"), "--workers", "2"]
    words += ["--data.corpora", "ravdess", "--data.features", "voice", "face", "--training.epochs", "3"]
    words += [
        "--protocol.kind",
        "crossed",
        "--protocol.group",
        "stimulus",
        "--protocol.folds",
        "2",
        "--only-folds",
        "1",
    ]
    words += ["--model.width", "8", "--model.heads", "2", "--model.layers", "1", "--model.feedforward", "8"]
    done = submit(head, "python", "experiments/va_transformer.py", *words)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (signature,) = (tmp_path / "runs" / "va-transformer").iterdir()
    series = Series.open(str(signature))
    (run,) = series.runs()
    assert run.is_done and len(run.history()) == 3
    assert series.folder.exists("report.html")
    assert series.baseline is not None


def test_a_search_is_a_job(head, tmp_path):
    from mien.results.search_folder import SearchFolder
    from tiny import search, write_store

    write_store(str(tmp_path / "store"))
    space = {"training.learning_rate": "0.002 | 0.001"}
    asked = search(tmp_path, only_folds=(0,), space=space, trials=2, questions={}, pruner="none")
    (tmp_path / "search.json").write_text(json.dumps(asked.to_json()))
    done = submit(head, "python", "-m", "mien", "search", str(tmp_path / "search.json"))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "trial 1 done" in done.stdout, "what a trial came to is not in the job's log"
    folder = SearchFolder.open(str(tmp_path / "runs" / "tiny-search"))
    assert [trial.state for trial in folder.trials()] == ["done", "done"]
    assert folder.folder.exists("report.html")


def test_a_job_that_was_stopped_goes_on_when_it_is_submitted_again(head, tmp_path):
    from mien.folder import Folder
    from mien.results.run import Run
    from tiny import SEARCH, write_store

    write_store(str(tmp_path / "store"))
    place = ExecutionConfig(
        store=str(tmp_path / "store"), storage=str(tmp_path / "runs"), only_folds=(0,), baseline=False
    )
    long = dataclasses.replace(SEARCH.experiment.training, epochs=200, patience=200, keep="last")
    asked = dataclasses.replace(SEARCH.experiment, execution=place, training=long)
    (tmp_path / "experiment.json").write_text(json.dumps(asked.to_json()))
    words = "python", "-m", "mien", "train", str(tmp_path / "experiment.json")

    def run() -> Run | None:
        series = Folder(place.storage) / asked.name
        return next((Run(series / name / "seed-0" / "fold-0", 0, 0) for name in series.names()), None)

    first = submit(head, *words, options=("--no-wait", "--submission-id", "stopped"))
    assert first.returncode == 0, first.stdout[-4000:] + first.stderr[-4000:]
    deadline_s = time.monotonic() + 200
    while (begun := run()) is None or len(begun.history()) < 3:
        assert time.monotonic() < deadline_s, "no epoch was trained"
        time.sleep(0.1)
    command = ["ray", "job", "stop", "--address", f"http://{head.dashboard}", "stopped"]
    stopped = subprocess.run(command, capture_output=True, text=True, env=head.environment, timeout=120)
    assert stopped.returncode == 0, stopped.stderr
    before = begun.history()
    assert 3 <= len(before) < long.epochs and not begun.is_done
    again = submit(head, *words)
    assert again.returncode == 0, again.stdout[-4000:] + again.stderr[-4000:]
    assert [record["epoch"] for record in begun.history()] == list(range(1, long.epochs + 1))
    kept = begun.history()[: len(before) - 1]  # it may have been stopped between checkpoint and history
    assert kept == before[:-1], "epochs were trained again"


def test_who_has_no_token_is_refused(head):
    stranger = {**head.environment, "RAY_AUTH_TOKEN_PATH": os.devnull, "RAY_AUTH_MODE": "disabled"}
    command = ["ray", "job", "list", "--address", f"http://{head.dashboard}"]
    done = subprocess.run(command, capture_output=True, text=True, env=stranger, timeout=120)
    assert done.returncode != 0
