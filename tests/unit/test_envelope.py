"""The model of many nodes, at points that can be worked out by hand."""

from __future__ import annotations

import pytest

from mien.bench.envelope import START_S, ceilings, clips_per_s, hours, node_clips_per_s, step_s


def test_one_node_is_its_own_limit_and_many_are_held_by_s3():
    one = node_clips_per_s("egemaps")
    assert clips_per_s("egemaps", "audio", 10**7, 1) == one
    assert hours("egemaps", "audio", 10**7, 1) == pytest.approx((START_S + 10**7 / one) / 3600)
    assert clips_per_s("egemaps", "audio", 10**7, 1000) == 5500 / 5
    assert hours("egemaps", "audio", 10**7, 1000) == hours("egemaps", "audio", 10**7, 100)
    lowest = min(ceilings("egemaps", "audio", 10**7), key=lambda ceiling: ceiling.clips_per_s)
    assert "S3" in lowest.what and lowest.nodes == pytest.approx(1100 / one)


def test_a_ring_passes_the_gradient_twice():
    assert step_s(1, compute_s=0.1, n_bytes=1e9, gbit_per_s=1, latency_s=1) == 0.1
    # 2 x 3 messages of a quarter of 1 MB at 1 MB/s, each 0.01 s late
    assert step_s(4, compute_s=0.4, n_bytes=1e6, gbit_per_s=0.008, latency_s=0.01) == pytest.approx(0.1 + 6 * 0.26)
