"""What EC2 is asked for when a node of some type is to come: a machine in a market, and what follows where it refuses.

`provider.fallbacks` of cluster.yaml holds, by node type, instance types in the order in which they are tried, and the
word `on-demand`, from which on the machines are asked for at the full price, beginning with the declared one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

ON_DEMAND = "on-demand"


class Launch(NamedTuple):
    """One thing to ask EC2 for. spot: else on demand."""

    instance_type: str
    spot: bool

    def __str__(self) -> str:
        return f"{self.instance_type}, {'spot' if self.spot else 'on demand'}"


def launches(declared: Launch, fallbacks: Sequence[str] = ()) -> list[Launch]:
    """The declared one, then the others, each once.

    >>> [str(launch) for launch in launches(Launch("c7i.4xlarge", True), ["c6i.4xlarge", "on-demand", "c6i.4xlarge"])]
    ['c7i.4xlarge, spot', 'c6i.4xlarge, spot', 'c7i.4xlarge, on demand', 'c6i.4xlarge, on demand']
    """
    asked, spot = [declared], declared.spot
    for word in fallbacks:
        spot = spot and word != ON_DEMAND
        asked.append(Launch(declared.instance_type if word == ON_DEMAND else word, spot))
    return list(dict.fromkeys(asked))
