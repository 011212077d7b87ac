"""`ray job submit` of the working directory against a local head with token authentication."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.slow]

BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """Address and environment of a head that refuses whoever has no token; ended by its own process group."""
    folder = tmp_path_factory.mktemp("head")
    (folder / "token").write_text("0123456789abcdef" * 4)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    ports = free_port(), free_port()
    environment["MIEN_TEST_GCS"] = f"127.0.0.1:{ports[0]}"
    command = ["ray", "start", "--head", "--block", "--num-cpus=2", f"--port={ports[0]}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={ports[1]}", f"--temp-dir={short(folder)}"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-agent-listen-port=0"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline_s = time.monotonic() + 120
        while not answers(ports[1]):
            assert process.poll() is None, (folder / "log").read_text()[-3000:]
            assert time.monotonic() < deadline_s, (folder / "log").read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{ports[1]}", environment
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def short(folder: Path) -> Path:
    """Ray's sockets must have paths below 108 characters."""
    link = Path("/tmp") / f"mien-ray-{os.getpid()}"
    link.mkdir(exist_ok=True)
    return link


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def submit(head, *words: str) -> subprocess.CompletedProcess[str]:
    address, environment = head
    command = ["ray", "job", "submit", "--address", address, "--working-dir", ".", "--runtime-env"]
    command += ["experiments/runtime_env.yaml", "--", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=400)


def test_a_job_prepares_with_the_code_of_the_working_directory(head, tmp_path):
    from mien.corpora.sample import write_sample
    from mien.store import FeatureStore

    roots = write_sample(tmp_path, corpora=("cremad",), n_subjects=1, n_per_emotion=1)
    words = ["cremad", str(roots["cremad"]), "--store", str(tmp_path / "store"), "--workers", "1"]
    done = submit(head, "python", "experiments/prepare.py", *words)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    store = FeatureStore(str(tmp_path / "store"))
    spec = store.spec("cremad", "egemaps")
    assert len(store.load("cremad", spec)) == len(store.clips("cremad")) > 0
    where = submit(head, "python", "-c", "import mien, os; print(os.path.abspath(mien.__file__))")
    assert "working_dir_files" in where.stdout, "a stale install was imported instead of the working directory"


def test_a_search_is_a_job(head, tmp_path):
    from mien.trials import SearchFolder
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


def test_who_has_no_token_is_refused(head):
    address, environment = head
    stranger = {**environment, "RAY_AUTH_TOKEN_PATH": os.devnull, "RAY_AUTH_MODE": "disabled"}
    command = ["ray", "job", "list", "--address", address]
    done = subprocess.run(command, capture_output=True, text=True, env=stranger, timeout=120)
    assert done.returncode != 0
