"""The driver's memory and time for a million clips, and that it says where it runs out. Prints the figures."""

from __future__ import annotations

import pytest

from mien.bench.scale import scale

pytestmark = [pytest.mark.bench, pytest.mark.slow]

GB_OF_A_MILLION = 2.0  # of any step; a third of that was measured (docs/explanation/scaling.md)


def test_a_million_clips_fit_into_a_small_driver():
    steps = list(scale([100_000, 1_000_000], limit_gb=12))
    few, many = steps[: len(steps) // 2], steps[len(steps) // 2 :]
    for step in steps:
        print(f"{step.n_clips} clips, {step.name}: {step.seconds:.1f} s, {step.peak_bytes / 1e9:.2f} GB {step.error}")
    for small, large in zip(few, many):
        assert small.name == large.name and not large.error
        assert large.peak_bytes < GB_OF_A_MILLION * 1e9
        assert large.seconds < 30 * max(small.seconds, 0.5)  # ten times the clips: no step may grow with their square


def test_a_step_without_memory_says_so():
    first = next(scale([1_000_000], limit_gb=0.4))
    assert first.name == "clip table" and first.error == "out of 0.4 GB"
