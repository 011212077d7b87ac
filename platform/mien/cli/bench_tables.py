"""What `mien bench extract` prints: a row an extractor, and what each full corpus costs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mien.cli.features import attachments
from mien.cli.terminal import ERR, OUT, print_json
from mien.errors import MienError, nearest

if TYPE_CHECKING:
    from mien.bench.corpora import CorpusCost
    from mien.bench.extractors import ExtractorRate
    from mien.bench.media import Subject

COLUMNS = (
    *("extractor", "a clip", "CPU s", "clips/s", "of real time", "over the bare call", "peak MB", "MB an hour"),
    "two at once",
)


def measure_and_print(
    features: Sequence[str], root: Path | None, weights: Sequence[str], n_clips: int, n_rounds: int, as_json: bool
) -> None:
    """Measure the extractors one after the other. Those that cannot be are told on stderr with the reason; raises
    MienError for an unknown name, and where none could be measured."""
    from mien.bench.extractors import extractor_rate
    from mien.bench.media import subject
    from mien.features.extractors import EXTRACTORS

    given = attachments(weights, option="weights", example="speech-encoder=FOLDER or blendshapes=FILE")
    for name in (*features, *given):
        if name not in EXTRACTORS:
            raise MienError(f"unknown features {name!r}: {nearest(name, EXTRACTORS)}")
    if root is not None and not root.is_dir():
        raise MienError(f"--corpora-root {root}: no such folder")
    machine = machine_in_words()
    measured: dict[str, tuple[Subject, ExtractorRate]] = {}
    with TemporaryDirectory() as folder:
        for name in features or EXTRACTORS:
            ERR.print(f"{name} ...", markup=False)
            try:
                about = subject(name, Path(folder), root=root, weights=given.get(name), n_clips=n_clips)
                measured[name] = (about, extractor_rate(name, about.settings, about.media, n_rounds))
            except MienError as error:
                ERR.print(f"  left out: {error}", markup=False, soft_wrap=True)
    if not measured:
        raise MienError("nothing was measured: what is above says why")
    if as_json:
        found = {
            name: {"recordings": about.recordings, "weights": about.weights, **asdict(rate), **derived(rate)}
            for name, (about, rate) in measured.items()
        }
        print_json({"machine": machine, "extractors": found})
        return
    for line in markdown(COLUMNS, [row(name, rate) for name, (_, rate) in measured.items()]):
        OUT.print(line, markup=False, soft_wrap=True)
    OUT.print(f"- {machine}, one thread", markup=False, soft_wrap=True)
    for text in dict.fromkeys(
        f"{name}: weights {about.weights}" for name, (about, _) in measured.items() if about.weights
    ):
        OUT.print(f"- {text}", markup=False, soft_wrap=True)
    kinds = sorted({about.recordings for about, _ in measured.values()})
    OUT.print(f"- recordings: {', '.join(kinds)}", markup=False, soft_wrap=True)


def derived(rate: ExtractorRate) -> dict[str, Any]:
    """What follows from the figures, by name."""
    names = ("realtime_factor", "overhead", "mb_per_hour", "scaling", "clock_scaling")
    return {name: getattr(rate, name) for name in names}


def row(name: str, rate: ExtractorRate) -> list[str]:
    """The cells of COLUMNS."""
    return [
        name,
        f"{rate.clip_s:.1f} s",
        f"{rate.cpu_s:.3g}",
        f"{1 / rate.cpu_s:.3g}",
        f"{rate.realtime_factor:.2g}",
        "" if rate.overhead is None else f"{rate.overhead:+.1%}",
        f"{rate.peak_bytes / 1e6:.0f}",
        f"{rate.mb_per_hour:.3g}",
        f"{rate.scaling:.2f}",
    ]


def print_corpora(found: Sequence[CorpusCost], machine: str, as_json: bool) -> None:
    """Core-hours and gigabytes of each extractor and corpus, and what was taken for granted."""
    from mien.cluster.cost.corpora import WHOLE

    if as_json:
        print_json([asdict(cost) for cost in found])
        return
    lines = markdown(["extractor", *WHOLE], corpora_rows(found, list(WHOLE)))
    lines += ["", "- core-hours, GB of the store; empty where the corpus has no such recordings"]
    lines += [f"- rates were measured on {machine}", *(f"- {name}: {size.source}" for name, size in WHOLE.items())]
    for line in lines:
        OUT.print(line, markup=False, soft_wrap=True)


def corpora_rows(found: Sequence[CorpusCost], corpora: Sequence[str]) -> list[list[str]]:
    """A row an extractor, a cell "core-hours h, GB" a corpus."""
    cells = {(cost.feature, cost.corpus): f"{figure(cost.core_hours)} h, {figure(cost.n_gb)} GB" for cost in found}
    return [
        [feature, *(cells.get((feature, corpus), "") for corpus in corpora)]
        for feature in dict.fromkeys(cost.feature for cost in found)
    ]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as the pages of docs have it.

    >>> markdown(["a", "b"], [["1", ""]])
    ['| a | b |', '|---|---|', '| 1 |  |']
    """
    first, *others = (f"| {' | '.join(cells)} |" for cells in (columns, *rows))
    return [first, "|---" * len(columns) + "|", *others]


def figure(value: float) -> str:
    """Two significant digits, whole from 10 on.

    >>> figure(0.01234), figure(5.06), figure(1234.5)
    ('0.012', '5.1', '1,234')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def machine_in_words() -> str:
    """Cores, processor and how much runs on them: "2 cores of an AMD EPYC, load 0.5"."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return f"{os.cpu_count()} cores of {model[1] if model else 'an unknown processor'}, load {os.getloadavg()[0]:.1f}"
