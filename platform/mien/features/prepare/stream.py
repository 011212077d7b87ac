"""The batches of a job through Ray Data: to a pool of actors, one core each, and back what became of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from mien.errors import MienError
from mien.features.prepare.tasks import tasks_from_table
from mien.features.prepare.watch import ClipLimits
from mien.features.prepare.worker import BatchExtractor, ClipOutcome, Feature


class ExtractFeatures:
    """`BatchExtractor` as Ray Data wants it; the dashboard shows it by this name."""

    def __init__(self, features: Sequence[Feature], limits: ClipLimits) -> None:
        self._extract = BatchExtractor(features, limits)

    def __call__(self, batch: pa.Table) -> pa.Table:
        return pa.Table.from_pylist([outcome._asdict() for outcome in self._extract(tasks_from_table(batch))])


def stream(
    name: str, features: Sequence[Feature], batches: Sequence[pa.Table], workers: int, limits: ClipLimits
) -> Iterator[list[ClipOutcome]]:
    """What became of each batch, in the order in which they end. Raises the MienError that stopped a worker."""
    import ray.data

    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":  # its own files have all of it
            handler.setLevel(logging.CRITICAL)
    dataset = ray.data.from_arrow(list(batches))
    dataset.context.enable_progress_bars = False
    dataset.context.raise_original_map_exception = True
    dataset.set_name(name)
    outcomes = dataset.map_batches(
        ExtractFeatures,
        fn_constructor_args=(features, limits),
        batch_size=None,  # a block, which is a batch of ours: so a part of the store is the same when it is repeated
        batch_format="pyarrow",
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
    )
    try:
        tables: Iterable[Any] = outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        for table in tables:
            yield [ClipOutcome(**row) for row in table.to_pylist()]
    except ray.exceptions.RayTaskError as error:
        if not isinstance(error.cause, MienError):
            raise
        raise type(error.cause)(str(error.cause).splitlines()[0]) from None  # Ray appends advice of its own
