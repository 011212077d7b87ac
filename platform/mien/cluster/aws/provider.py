"""Ray's own way to EC2 with one thing more: where EC2 has no such machine, the next of `provider.fallbacks` follows.

Ray 2.60 leaves a launch that EC2 refuses at that: it asks for the same type again, in every availability zone, for as
long as the demand lasts. Its autoscaler takes note of node types that were allocated and never came up
(`CloudResourceMonitor`), not of those refused. How it would look in Ray: docs/decisions/0012-fallbacks.md.
"""

from __future__ import annotations

import logging
from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.providers import MINIMAL_EXTERNAL_CONFIG
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

from mien.cluster.aws.launches import Launch, launches

LOG = logging.getLogger(__name__)
# Error codes of RunInstances, Amazon EC2 API Reference. A quota that is used up is none: that is the user's to decide.
# Ray tries zone after zone and hands on the last one's answer, which may be that this zone has no such type at all.
NO_CAPACITY = ("InsufficientInstanceCapacity", "UnfulfillableCapacity", "Unsupported")

# Ray 2.60 puts two empty fields into the configuration of every external provider, and warns of each whenever it reads
# the file, which its autoscaler does every five seconds: 34,560 lines a day in monitor.log.
for empty in ("head_node", "worker_nodes"):
    MINIMAL_EXTERNAL_CONFIG.pop(empty, None)


class FallbackProvider(AWSNodeProvider):
    """AWSNodeProvider that asks for another machine where EC2 has none of those declared."""

    def _create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        kind = tags.get(TAG_RAY_USER_NODE_TYPE, "")
        declared = Launch(node_config["InstanceType"], "InstanceMarketOptions" in node_config)
        asked = launches(declared, self.provider_config.get("fallbacks", {}).get(kind, ()))
        for launch, following in zip(asked, [*asked[1:], None], strict=True):
            config = {**node_config, "InstanceType": launch.instance_type}
            if not launch.spot:
                config.pop("InstanceMarketOptions", None)
            try:
                return super()._create_node(config, dict(tags), count)
            except NodeLaunchException as refused:
                if refused.category not in NO_CAPACITY or following is None:
                    raise
                why = refused.description
                LOG.warning(
                    "%s: EC2 has no capacity for %d x %s: asking for %s (%s)", kind, count, launch, following, why
                )
        raise AssertionError("unreachable: the last launch returns or raises")
