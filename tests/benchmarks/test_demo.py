"""The promise that a live session can go on for hours: neither memory nor delay grows. `make bench` runs it."""

from __future__ import annotations

import os

import pytest

from mien.bench.live import chromium, live_rate
from mien.errors import MienError
from tiny_runs import tiny_run

pytestmark = [pytest.mark.bench, pytest.mark.slow]

SECONDS = float(os.environ.get("MIEN_ENDURANCE_S", "600"))
SERVER_GROWTH = 1.05
PAGE_MB = 20.0
DRIFT = 0.5  # of the median latency


def test_ten_minutes_leave_memory_and_delay_as_they_were(tmp_path):
    try:
        chromium()
    except MienError as error:
        pytest.skip(str(error))
    run = tiny_run(tmp_path / "run", {"egemaps": {}, "facenet": {"weights": "random"}})
    rate = live_rate(str(run), tmp_path, seconds=SECONDS)
    print(
        f"{rate.seconds:.0f} s, {rate.n_predictions} predictions, {rate.quantile(0.5):.0f} ms, drift {rate.drift_ms():.0f} ms"
    )
    print(f"server {rate.server_mb} MB, page {rate.page_mb} MB")
    assert rate.n_predictions > SECONDS / 10, "it went on"
    assert rate.server_mb[1] < SERVER_GROWTH * rate.server_mb[0]
    assert rate.page_mb[1] - rate.page_mb[0] < PAGE_MB
    assert rate.drift_ms() < DRIFT * rate.quantile(0.5)
