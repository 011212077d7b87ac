"""A command in namespaces of its own: it sees no process of this machine, reaches no network, and nothing outlives it.

For what has to believe that it is alone: `ray stop` ends every Ray that it sees, and `ray drain-node` takes the one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

UNSHARE = [
    "unshare",
    "--user",
    "--map-root-user",
    "--net",
    "--pid",
    "--mount",
    "--fork",
    "--mount-proc",
    "--kill-child",
]


def run_alone(script: str, log: Path, *, timeout_s: float, **environment: str) -> None:
    """Runs a bash script with loopback and an empty /tmp/ray; skips where that needs rights that are missing."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("needs unshare and ip")
    if subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("needs user, network, process and mount namespaces: run it as root, or allow them to users")
    Path("/tmp/ray").mkdir(exist_ok=True)
    # CUDA_VISIBLE_DEVICES forbids a node to claim GPUs.
    kept = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES" and not k.startswith("RAY_")}
    kept |= {
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'tests'}:{ROOT / 'tests' / 'fault'}",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    inside = f"mount -t tmpfs none /tmp/ray\nip link set lo up\n{script}"
    with log.open("w") as out:
        command = [*UNSHARE, "bash", "-ec", inside]
        done = subprocess.run(command, stdout=out, stderr=out, timeout=timeout_s, env=kept | environment)
    assert done.returncode == 0, log.read_text()[-5000:]
