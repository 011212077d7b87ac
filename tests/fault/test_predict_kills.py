"""mien predict killed in the middle: the same command goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pandas as pd
import pytest

from conftest import ROOT
from tiny_run import write_series


@pytest.mark.slow
@pytest.mark.fault
def test_killed_in_the_middle_the_same_command_goes_on(tmp_path):
    log = tmp_path / "log"
    os.environ["TINY_LOG"] = str(log)
    try:
        series = write_series(tmp_path, recipe="tiny_extractors:Logged")
        log.unlink()
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT / 'tests'}",
            "MIEN_CACHE": str(tmp_path / "cache"),
            "TINY_SECONDS": "0.1",
        }
        command = [sys.executable, "-m", "mien", "predict", str(series), str(tmp_path / "media"), "--workers", "1"]
        command += ["--out", str(tmp_path / "answers.csv"), "--quiet"]
        killed = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 120
        while time.monotonic() < deadline_s and not list((tmp_path / "cache").rglob("part-*.parquet")):
            time.sleep(0.02)
        killed.kill()
        killed.wait()
        assert list((tmp_path / "cache").rglob("part-*.parquet")), "it was killed before anything was written"
        assert not (tmp_path / "answers.csv").exists()
        time.sleep(0.3)  # its workers die with it
        n_before = len(log.read_text().splitlines())
        again = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert again.returncode == 0, again.stderr
    finally:
        del os.environ["TINY_LOG"]
    table = pd.read_csv(tmp_path / "answers.csv")
    n_clips = len(list((tmp_path / "media").iterdir()))
    assert len(table) == n_clips and table["reject"].isna().all()
    n_again = len(log.read_text().splitlines()) - n_before
    assert 0 < n_again < n_clips, "what was written before is not extracted again"
    assert not list((tmp_path / "cache" / "predict").iterdir())
