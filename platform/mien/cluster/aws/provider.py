"""Ray's own way to EC2 with one thing more: where no spot capacity is left, the node is launched on demand.

Ray 2.60 leaves a launch that EC2 refuses at that: it asks for the same type again, in every availability zone, for as
long as the demand lasts. Its autoscaler takes note of node types that were allocated and never came up
(`CloudResourceMonitor`), not of those refused. cluster.yaml names this class, and by `on_demand_fallback` the node
types that it is for.
"""

from __future__ import annotations

import logging
from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

LOG = logging.getLogger(__name__)
# Error codes of RunInstances, Amazon EC2 API Reference. A quota that is used up is none: that is the user's to decide.
# Ray tries zone after zone and hands on the last one's answer, which may be that this zone has no such type at all.
NO_CAPACITY = ("InsufficientInstanceCapacity", "UnfulfillableCapacity", "Unsupported")


class SpotElseOnDemand(AWSNodeProvider):
    """AWSNodeProvider whose spot launches of some node types fall back to on demand."""

    def _create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        try:
            return super()._create_node(node_config, dict(tags), count)
        except NodeLaunchException as refused:
            kind = tags.get(TAG_RAY_USER_NODE_TYPE)
            falls_back = kind in self.provider_config.get("on_demand_fallback", ())
            if refused.category not in NO_CAPACITY or not falls_back or "InstanceMarketOptions" not in node_config:
                raise
            LOG.warning("no spot capacity for %d of %s: launching on demand (%s)", count, kind, refused.description)
            on_demand = {key: value for key, value in node_config.items() if key != "InstanceMarketOptions"}
            return super()._create_node(on_demand, dict(tags), count)
