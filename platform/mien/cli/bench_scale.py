"""mien bench scale and envelope: how far it goes, measured, and by a model. Help must load nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from mien.cli.bench import print_rows
from mien.errors import MienError, above_0


def bench_scale(
    clips: tuple[int, ...] = (10_000, 100_000, 1_000_000),
    limit_gb: float = 20.0,
    batches: int = 2000,
    training: bool = False,
    folder: Path | None = None,
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Time and memory of the driver as the corpus grows: clip table, splits, what is missing, manifest; no media.

    Args:
        clips: Sizes of the synthetic corpus; ten million take a quarter of an hour and 7 GB.
        limit_gb: A step that holds more memory of its own than this ends, and says so.
        batches: Also how many batches a second a driver hands to idle workers, measured on so many; 0 leaves it out.
        training: Instead, what training takes of the driver, and of a node that joins: 20 GB of disk a million clips.
        folder: Where the synthetic store is written and removed again; by default the place for temporary files.
        as_json: Print it as JSON.
    """
    from mien.bench.scale import batches_per_s, scale

    above_0("clips", *clips)
    above_0("limit_gb", limit_gb)
    if batches < 0:
        raise MienError(f"--batches {batches}: give 0 or more")
    rows: dict[str, Any] = {}
    for step in scale(clips, limit_gb=limit_gb, folder=folder, training=training):
        told = f"{step.seconds:.2f} s, {step.peak_bytes / 1e9:.2f} GB, of its own {step.own_bytes / 1e9:.2f}"
        written = f"; {step.n_bytes / 1e6:,.1f} MB" if step.n_bytes else ""
        rows[f"{step.n_clips} clips, {step.name}"] = step.error or told + written
    if batches and not training:
        rows["batches a second"] = round(batches_per_s(batches))
    print_rows(rows, as_json)


def bench_envelope(
    clips: int = 10_000_000,
    nodes: tuple[int, ...] = (1, 10, 30, 100, 300, 1000),
    partitions: tuple[int, ...] = (1, 16),
    figure: Path | None = None,
    as_json: Annotated[bool, arg(name="json")] = False,
) -> None:
    """What bounds extraction on many nodes, by a model: nothing is run. See docs/explanation/scaling.md.

    Args:
        clips: Of the corpus, each as long as those of the rates.
        nodes: c7i.4xlarge, 16 cores each.
        partitions: Of S3 that hold the media: 5,500 requests a second each.
        figure: Draw it into this PNG as well.
        as_json: Print it as JSON.
    """
    from mien.bench.envelope import ceilings, draw, hours, node_clips_per_s

    above_0("clips", clips)
    above_0("nodes", *nodes)
    above_0("partitions", *partitions)
    rows: dict[str, Any] = {}
    for feature, medium in (("egemaps", "audio"), ("facenet", "video")):
        rows[f"{feature}, clips/s of a node"] = round(node_clips_per_s(feature), 1)
        for ceiling in ceilings(feature, medium, clips):
            told = f"{ceiling.clips_per_s:,.0f} clips/s, {ceiling.nodes:,.0f} nodes ({ceiling.source})"
            rows[f"{feature}, {ceiling.what}"] = told
        for n_prefixes in partitions:
            name = f"{feature}, hours on {' '.join(map(str, nodes))} nodes, S3 partitions: {n_prefixes}"
            rows[name] = " ".join(f"{hours(feature, medium, clips, n, n_prefixes):.2f}" for n in nodes)
    if figure:
        draw(figure, clips)
    print_rows(rows, as_json)
