"""What spot machines cost besides their price: work that is lost when they are taken away, and the wait for others.

Interruptions are a Poisson process of `rate_per_h`, work is safe every `checkpoint_h` hours, and after an interruption
it goes on when a machine has taken the lost one's place, `restart_h` later. A segment between two checkpoints that is
interrupted is begun again; the wait may be interrupted as well. Then a segment of c hours takes, with rate r and
restart R,

    E = exp(r R) (exp(r c) - 1) / r

hours in the mean (J. T. Daly, A higher order estimate of the optimum checkpoint interval for restart dumps, Future
Generation Computer Systems 22, 2006, equation 13, with checkpoints that cost nothing beside the work). The notice of
two minutes, in which training can save once more, is not counted: the loss is an upper bound where it is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mien.errors import MienError


@dataclass(frozen=True, slots=True)
class SpotLoss:
    """stretch: hours that an hour of work takes in the mean, at least 1. interruptions: expected, in those hours."""

    stretch: float
    interruptions: float


def spot_loss(work_h: float, *, rate_per_h: float, checkpoint_h: float, restart_h: float) -> SpotLoss:
    """The expected loss of work_h hours of a machine that works for itself.

    Raises MienError where it is interrupted so often that it never gets from one checkpoint to the next.
    """
    rate = rate_per_h
    if not rate or not work_h:
        return SpotLoss(1.0, 0.0)
    segment_h = min(checkpoint_h, work_h)
    exponent = rate * (segment_h + restart_h)
    if exponent > 50:
        raise MienError(
            f"{rate:g} interruptions an hour: with {60 * segment_h:.3g} minutes between checkpoints and "
            f"{60 * restart_h:.3g} to start anew nothing is ever done on spot; give --interruptions a smaller number"
        )
    stretch = math.exp(rate * restart_h) * math.expm1(rate * segment_h) / (rate * segment_h)
    return SpotLoss(stretch, rate * work_h * stretch)
