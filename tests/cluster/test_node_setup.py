"""platform/mien/cluster/aws/node_setup.sh: skipped by its stamp, and from a wheelhouse without a network."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conftest import ROOT

pytestmark = pytest.mark.cluster

SCRIPT = ROOT / "platform" / "mien" / "cluster" / "aws" / "node_setup.sh"
NOWHERE = "http://127.0.0.1:9"  # a proxy that nobody answers


def set_up(home: Path, *, tools: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script as `ray up` does, in a home of its own, on a machine that reaches no other."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))},
        "HOME": str(home),
        "PATH": tools or f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE),
    }
    return subprocess.run([str(SCRIPT)], capture_output=True, text=True, env=environment, timeout=300)


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    """A minimal wheel, by PEP 427."""
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "mien").mkdir()
    (tmp_path / "mien" / "requirements.lock").write_text("tiny-one==1.0\n")
    (tmp_path / ".bashrc").write_text("# the user's own\n")
    return tmp_path


def test_it_is_bash_and_executable():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    assert os.access(SCRIPT, os.X_OK), "Ray runs it by its path"


def test_a_baked_image_has_nothing_to_do(home):
    """The stamp of this very lock: no Python and no uv is touched, so none is needed."""
    venv = home / "mien" / ".venv"
    venv.mkdir()
    lock = (home / "mien" / "requirements.lock").read_bytes()
    (venv / ".installed.sha256").write_text(hashlib.sha256(lock).hexdigest() + "\n")
    for _ in range(2):
        done = set_up(home, tools="/usr/bin:/bin")
        assert done.returncode == 0, done.stderr
        assert "requirements.lock is installed" in done.stdout
    assert [path.name for path in venv.iterdir()] == [".installed.sha256"]
    said = (home / ".bashrc").read_text()
    assert said.startswith("# the user's own\n") and said.count("# mien") == 1
    assert f'export PATH="{venv}/bin:$PATH" RAY_AUTH_MODE=token' in said


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="a node without a network must have Python 3.11 itself")
def test_it_installs_exactly_the_lock_from_a_wheelhouse_without_a_network(home):
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if uv is None:
        pytest.skip("no uv on this machine to put into the wheelhouse")
    wheelhouse = home / "mien" / "wheelhouse"
    wheelhouse.mkdir()
    wheel(wheelhouse, "tiny_one", "1.0", {"tiny_one.py": "VALUE = 1\n"})
    wheel(wheelhouse, "tiny_one", "2.0", {"tiny_one.py": "VALUE = 2\n"})
    wheel(wheelhouse, "uv", "0", {"uv-0.data/scripts/uv": f'#!/bin/sh\nexec {uv} "$@"\n'})
    # Python is there, and uv is not but in the wheelhouse
    tools = home / "bin"
    tools.mkdir()
    for name in ("python3", "python3.11"):
        (tools / name).symlink_to(Path(sys.executable).resolve())
    path = f"{tools}:/usr/bin:/bin"
    assert shutil.which("uv", path=path) is None
    python = home / "mien" / ".venv" / "bin" / "python"

    def value() -> str:
        return subprocess.run(
            [python, "-c", "import tiny_one; print(tiny_one.VALUE)"], capture_output=True, text=True
        ).stdout

    done = set_up(home, tools=path)
    assert done.returncode == 0, done.stderr
    assert "node_setup: installed" in done.stdout and value() == "1\n"
    assert "is installed" in set_up(home, tools=path).stdout

    (home / "mien" / "requirements.lock").write_text("tiny-one==2.0\n")  # another lock is another stamp
    assert "node_setup: installed" in set_up(home, tools=path).stdout and value() == "2\n"

    (home / "mien" / "requirements.lock").write_text("tiny-one==3.0\n")  # which the wheelhouse lacks
    failed = set_up(home, tools=path)
    assert failed.returncode != 0 and "tiny-one" in failed.stderr
    assert not (python.parents[1] / ".installed.sha256").exists(), "a node half set up must not pass for a whole one"
