"""How far a cluster scales: a model of many nodes from what was measured on one, what others publish, and assumptions.

docs/explanation/scaling.md is written from it. Nothing here was run on a thousand nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.bench.autoscaling import finished_s, nodes_up
from mien.bench.requests import GETS_OF_A_CLIP, WRITES_OF_A_PART
from mien.errors import MienError
from mien.features.prepare.tasks import largest_part

CORES = 16  # of a c7i.4xlarge
START_S = 480.0  # assumed: boot and set-up of a node
# Of one core of the quicker machine of docs/benchmarks.md, on RAVDESS; measured: mien bench prepare
CLIPS_PER_S = {"egemaps": 19.55, "facenet": 1.04}
BATCHES_PER_S = 106.0  # of one driver; measured: mien bench scale
S3_GETS_PER_S = 5500.0  # of a partitioned prefix; published by Amazon
S3_WRITES_PER_S = 3500.0  # PUT, POST and DELETE; the same
ACTORS = 10_000  # that Ray's own tests go up to; published (release/benchmarks/README.md)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """A rate that no number of nodes goes beyond. nodes: as many as reach it."""

    what: str
    clips_per_s: float
    nodes: float
    source: str


def node_clips_per_s(feature: str) -> float:
    """Of a node, if its cores are as fast as the one that was measured."""
    return CORES * CLIPS_PER_S[feature]


def ceilings(feature: str, medium: str, n_clips: int, n_prefixes: int = 1) -> Iterator[Ceiling]:
    """What bounds extraction besides the cores. n_prefixes: partitions of S3 that hold the media."""
    part = largest_part(medium == "video", n_clips)
    one = node_clips_per_s(feature)
    for what, clips_per_s, source in (
        (
            f"reading media from S3, {n_prefixes} partition(s)",
            n_prefixes * S3_GETS_PER_S / GETS_OF_A_CLIP,
            "published",
        ),
        (
            f"writing parts of {part} clips to S3",
            part * S3_WRITES_PER_S / WRITES_OF_A_PART,
            "published",
        ),
        (f"one driver that hands out batches of {part}", part * BATCHES_PER_S, "measured"),
        ("Ray's actors, one a core", ACTORS / CORES * one, "published"),
    ):
        yield Ceiling(what=what, clips_per_s=clips_per_s, nodes=clips_per_s / one, source=source)


def clips_per_s(feature: str, medium: str, n_clips: int, n_nodes: int, n_prefixes: int = 1) -> float:
    """Of so many nodes: their own rate, or the lowest ceiling of the rates that they share."""
    shared = min(ceiling.clips_per_s for ceiling in ceilings(feature, medium, n_clips, n_prefixes))
    return min(n_nodes * node_clips_per_s(feature), shared)


def hours(feature: str, medium: str, n_clips: int, n_nodes: int, n_prefixes: int = 1) -> float:
    """Of the clock, from asking for the first node to the last clip, as the autoscaler brings nodes up; those beyond
    the lowest ceiling do nothing for it."""
    one = node_clips_per_s(feature)
    n_useful = max(1, round(clips_per_s(feature, medium, n_clips, n_nodes, n_prefixes) / one))
    return finished_s(nodes_up(n_nodes, start_s=START_S)[:n_useful], n_clips / one) / 3600


def step_s(n_workers: int, *, compute_s: float, n_bytes: float, gbit_per_s: float, latency_s: float) -> float:
    """A step of data-parallel training: its share of the computing, and a ring all-reduce of the gradient.

    2 (n - 1) / n of the gradient pass each link, in 2 (n - 1) messages (Patarasuk & Yuan 2009).
    """
    if n_workers == 1:
        return compute_s
    n_messages = 2 * (n_workers - 1)
    return compute_s / n_workers + n_messages * (n_bytes / n_workers / (gbit_per_s * 1e9 / 8) + latency_s)


def draw(path: Path, n_clips: int = 10_000_000, n_nodes: Sequence[int] = (1, 3, 10, 30, 100, 300, 1000)) -> None:
    """Clips a second and hours against nodes, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for feature, medium, colour in (("egemaps", "audio", "C0"), ("facenet", "video", "C1")):
        ideal = np.array(n_nodes) * node_clips_per_s(feature)
        left.plot(n_nodes, ideal, ":", color=colour, label=f"{feature}, cores alone")
        for n_prefixes, style in ((1, "--"), (16, "-")):
            rates = [clips_per_s(feature, medium, n_clips, n, n_prefixes) for n in n_nodes]
            label = f"{feature}, {n_prefixes} S3 partition{'s' if n_prefixes > 1 else ''}"
            left.plot(n_nodes, rates, style, color=colour, label=label)
            right.plot(n_nodes, [hours(feature, medium, n_clips, n, n_prefixes) for n in n_nodes], style, color=colour)
    left.set(xscale="log", yscale="log", xlabel="c7i.4xlarge nodes", ylabel="clips a second")
    right.set(xscale="log", yscale="log", xlabel="c7i.4xlarge nodes", ylabel=f"hours for {n_clips:,} clips")
    left.legend(fontsize=7)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    try:
        figure.savefig(path, dpi=150, format="png")
    except OSError as error:
        raise MienError(
            f"{path}: cannot be written ({error.strerror}); give a file in a folder that is there"
        ) from None
