"""mien doctor: what it finds of this machine, and what it says of one that lacks something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mien.cli.main import main
from mien.cluster import machine
from mien.connection import search_path

pytestmark = pytest.mark.slow


def found() -> dict[str, machine.Check]:
    return {check.name: check for check in machine.examine()}


def test_each_trouble_has_a_remedy_and_nothing_else_has():
    checks = machine.examine()
    assert machine.is_fit(checks)
    assert len({check.name for check in checks}) == len(checks)
    for check in checks:
        assert bool(check.remedy) == (check.status != "ok"), check
    assert {"python", "torch", "tensorflow", "codecs", "camera", "disk, cache", "weights, facenet"} <= set(found())


def test_no_framework_is_imported_for_it():
    code = "import sys; from mien.cluster import machine; machine.examine()\n"
    code += "print({'torch', 'tensorflow', 'ray', 'transformers', 'mediapipe'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": search_path()}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_what_everything_needs_makes_it_unfit_and_what_some_need_does_not(monkeypatch, capsys):
    there = machine.probe.packages()
    monkeypatch.setattr(machine.probe, "packages", lambda: {name: one for name, one in there.items() if name != "av"})
    monkeypatch.setattr(machine, "DECODERS", ("h264", "of_tomorrow"))
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json"])
    said = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in said["checks"]}
    assert ended.value.code == 2 and said["fit"] is False
    assert (checks["av"]["status"], checks["av"]["is_needed"]) == ("missing", True)
    assert checks["codecs"]["status"] == "warn" and "of_tomorrow" in checks["codecs"]["remedy"]
    monkeypatch.undo()
    assert main(["doctor"]) == 0
    assert "fit to work" in capsys.readouterr().out


def test_weights_are_looked_for_where_they_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("MIEN_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
    (tmp_path / "face_landmarker.task").write_bytes(b"x")
    snapshot = tmp_path / "hub-home" / "hub" / "models--facebook--dinov2-small" / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"x")
    checks = found()
    assert checks["weights, blendshapes"].status == "ok"
    assert checks["weights, image-encoder"].status == "ok"
    assert checks["weights, facenet"].status == "missing" and "--facenet.weights" in checks["weights, facenet"].remedy


def test_a_full_disk_and_a_version_that_is_not_in_the_lock_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "LEAST_DISK", 1e18)
    monkeypatch.setattr(machine, "read_lock", lambda: {"numpy": "0.0.1"})
    checks = found()
    assert checks["disk, here"].status == "warn" and "make room" in checks["disk, here"].remedy
    assert checks["packages"].status == "warn" and "(0.0.1)" in checks["packages"].found
    monkeypatch.setenv("MIEN_CACHE", "/proc/nothing")
    assert Path("/proc").exists() and "GB free" in found()["disk, cache"].found


def test_what_does_not_load_is_told_by_its_last_line():
    assert (
        machine._tried("import nothing_of_this_name", 60)
        == "ModuleNotFoundError: No module named 'nothing_of_this_name'"
    )
    assert machine._tried("import json", 60) == ""
    assert machine._tried("while True: pass", 0.5) == "did not end within 0.5 s"
