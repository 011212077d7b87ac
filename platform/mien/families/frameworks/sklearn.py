"""scikit-learn in a worker: it fits in one process."""

from __future__ import annotations

from mien.errors import ExperimentError
from mien.families.contract import ALONE, Group


def group(rank: int, world: int) -> Group:
    """Raises ExperimentError for more than one worker."""
    if world > 1:
        raise ExperimentError(f"scikit-learn fits in one process and not in {world}: set execution.workers to 0")
    return ALONE
