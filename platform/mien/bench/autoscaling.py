"""How fast Ray's autoscaler brings up nodes, and when a job that uses them as they come is done.

A model of what Ray 2.60's autoscaler does on EC2 (`ray/autoscaler/v2/instance_manager/reconciler.py`,
`_compute_to_launch`): every 5 s it asks for as many nodes of a type as upscaling_speed times the running ones, at least
one and at most ten at a time over all types (AUTOSCALER_MAX_CONCURRENT_LAUNCHES). A request is answered before the next
round, which is assumed; a node is in use when it has booted and is set up, always equally long after it was asked for,
which is assumed as well. Amazon's own limit, a thousand at once and two a second after that, never binds before Ray's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ROUND_S = 5.0
AT_A_TIME = 10


def nodes_up(n_nodes: int, *, start_s: float, upscaling_speed: float = 1.0) -> NDArray[np.float64]:
    """(n_nodes,) seconds, rising, after which each node is in use."""
    up: list[float] = []
    now_s, n_running = 0.0, 0
    while len(up) < n_nodes:
        while n_running < len(up) and up[n_running] <= now_s:
            n_running += 1
        n_launched = min(AT_A_TIME, max(1, math.ceil(upscaling_speed * max(n_running, 1))), n_nodes - len(up))
        up += [now_s + start_s] * n_launched
        now_s += ROUND_S
    return np.array(up)


def finished_s(up_s: NDArray[np.float64], work_s: float) -> float:
    """When `work_s` seconds of one node's work are done by nodes that begin at up_s, rising, and share it evenly."""
    n_nodes = np.arange(1, len(up_s) + 1)
    ends_s = (work_s + np.cumsum(up_s)) / n_nodes  # were the first k nodes the only ones
    return float(ends_s[np.argmax(ends_s <= np.append(up_s[1:], np.inf))])
