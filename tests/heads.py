"""Ray heads of this machine for tests: on loopback, with token authentication, ended with their process group."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT

BIN = Path(sys.executable).parent


class Head(NamedTuple):
    """dashboard, gcs: where it listens, host:port. environment: of a process that may use it. folder: Ray's own."""

    dashboard: str
    gcs: str
    environment: dict[str, str]
    folder: Path


@contextmanager
def running_head(variables: Mapping[str, str] | None = None) -> Iterator[Head]:
    """A head with two CPUs that refuses whoever has no token. variables: more of its environment."""
    folder = Path(tempfile.mkdtemp(prefix="mien-", dir="/tmp"))  # Ray's sockets must have paths below 108 characters
    (folder / "token").write_text("0123456789abcdef" * 4)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        **(variables or {}),
    }
    gcs, dashboard, metrics = free_port(), free_port(), free_port()
    command = ["ray", "start", "--head", "--block", "--num-cpus=2", f"--port={gcs}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--temp-dir={folder / 'ray'}"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-agent-listen-port=0", f"--metrics-export-port={metrics}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline_s = time.monotonic() + 120
        while not answers(dashboard):
            assert process.poll() is None, (folder / "log").read_text()[-3000:]
            assert time.monotonic() < deadline_s, (folder / "log").read_text()[-3000:]
            time.sleep(0.5)
        yield Head(f"127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", environment, folder / "ray")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):  # Ray gives some of its processes half a minute
            process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def submit(head: Head, *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """`ray job submit` of the project's root, with its log as it streams."""
    command = ["ray", "job", "submit", "--address", f"http://{head.dashboard}", "--working-dir", ".", "--runtime-env"]
    command += ["experiments/runtime_env.yaml", *options, "--", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=head.environment, timeout=400)


def workers_of(pid: int) -> list[int]:
    """Ray Train's worker processes below a process: they name themselves by their actor's class."""
    import psutil

    return [
        child.pid
        for child in psutil.Process(pid).children(recursive=True)
        if "RayTrainWorker" in " ".join(child.cmdline())
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
