"""The model of many nodes, at points that can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mien.bench.autoscaling import finished_s, nodes_up
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


# ---------------------------------------------------------------------- how nodes come


def test_nodes_come_up_as_rays_own_autoscaler_launches_them():
    """Its rule in the loop; states and times are ours."""
    from ray.autoscaler.v2.instance_manager.reconciler import Reconciler
    from ray.core.generated.instance_manager_pb2 import Instance as RayInstance

    def instances(n: int, status: Any) -> list[Any]:
        history = [RayInstance.StatusHistory(instance_status=RayInstance.QUEUED, timestamp_ns=1)]
        return [RayInstance(instance_type="cpu", status=status, status_history=history) for _ in range(n)]

    for n_nodes, speed in ((40, 1.0), (150, 0.1), (120, 100.0)):
        up: list[float] = []
        now_s = 0.0
        while len(up) < n_nodes:
            launched = Reconciler._compute_to_launch(
                queued_instances=instances(n_nodes - len(up), RayInstance.QUEUED),
                requested_instances=[],
                running_instances=instances(sum(at_s <= now_s for at_s in up), RayInstance.RAY_RUNNING),
                upscaling_speed=speed,
                max_concurrent_launches=10,
            )
            up += [now_s + 60.0] * len(launched["cpu"])
            now_s += 5.0
        assert nodes_up(n_nodes, start_s=60.0, upscaling_speed=speed).tolist() == up


def test_work_is_done_by_those_who_are_there():
    assert finished_s(np.array([0.0, 10.0]), 5.0) == 5.0  # before the second comes
    assert finished_s(np.array([0.0, 10.0]), 30.0) == 20.0  # 10 s alone, 10 s together
    assert finished_s(np.array([3.0]), 4.0) == 7.0
