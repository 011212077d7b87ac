"""Commands on a cluster, and on what runs left: to read, to compare and to fetch it.

Functions whose annotations and docstrings are their help, as in `mien.cli.main`; heavy imports stand inside.
"""

from __future__ import annotations

import json as json_
import sys
from typing import Annotated, Literal

import tyro

from mien.errors import MienError, above_0

Positional = tyro.conf.Positional


def cluster_doctor(
    address: str | None = None,
    storage: str | None = None,
    bring_up: tuple[Literal["cpu", "gpu"], ...] = (),
    start_minutes: float = 15.0,
    timeout_s: float = 120.0,
    json: bool = False,
) -> None:
    """Is every node of the cluster fit to work? Says what to mend; exits 2 where there is something.

    Looks at the cluster of RAY_ADDRESS, or at this machine where none is named. On a cluster run it as a job.

    Args:
        address: Another cluster: host:6379.
        storage: s3://bucket/prefix (or a shared folder) that each node tries to write to and to read.
        bring_up: Have the autoscaler start a node with a CPU, or with a GPU, and look at it too.
        start_minutes: For those to come.
        timeout_s: Seconds for a node to answer.
        json: Print the findings as JSON.
    """
    from dataclasses import asdict

    from rich.markup import escape

    from mien.cli.terminal import OUT, table
    from mien.cluster.doctor import examine, verdicts

    above_0("--timeout-s", timeout_s)
    above_0("--start-minutes", start_minutes)
    findings = examine(address, storage, timeout_s, bring_up=bring_up, start_s=60 * start_minutes)
    n_wrong = sum(bool(finding.remedy) for finding in findings)
    if json:
        print(json_.dumps({"fit": not n_wrong, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        table(["", "node", "found", "verdict"], [[escape(cell) for cell in row] for row in verdicts(findings)])
        n_nodes = len({finding.node for finding in findings})
        verdict = "fit to work" if not n_wrong else f"{n_wrong} {'thing' if n_wrong == 1 else 'things'} to mend"
        OUT.print(f"{n_nodes} {'node' if n_nodes == 1 else 'nodes'}: {verdict}")
    if n_wrong:
        sys.exit(2)


def report(runs: Annotated[tuple[str, ...], Positional], json: bool = False) -> None:
    """Write the report of each series or search anew, from its directory alone: no ray, no framework.

    Args:
        runs: Folders that `mien train` or `mien search` printed.
        json: Print metrics.json of series and analysis.json of searches, by folder.
    """
    from mien.cli.terminal import searched, summaries
    from mien.folder import Folder
    from mien.results import report as reports
    from mien.results.run import Series
    from mien.results.search_folder import SearchFolder

    if not runs:
        raise MienError("report: give a folder that `mien train` or `mien search` printed")
    searches = [SearchFolder.open(uri) for uri in runs if Folder(uri).exists("search.json")]
    found = [Series.open(uri) for uri in runs if not Folder(uri).exists("search.json")]
    for folder in searches:
        page, *_ = reports.report_search(folder)
        if not json:
            searched(folder)
            print(f"report: {page}")
    for series in found:
        reports.report(series)
    if json:
        analyses = {search.folder.uri: search.folder.read_json("analysis.json") for search in searches}
        metrics = {series.folder.uri: series.folder.read_json("metrics.json") for series in found}
        print(json_.dumps(analyses | metrics, indent=2))
    elif found:
        summaries(found)
        for series in found:
            print(f"report: {series.folder.path('report.html')}")


def compare(runs: Annotated[tuple[str, ...], Positional], out: str = "comparison") -> None:
    """Set series side by side: differences on the same clips, with intervals, and the leakage gap.

    Args:
        runs: Two or more folders that `mien train` printed; the first is what the others are compared with.
        out: Folder, or s3://bucket/prefix, for compare.html, compare.json and the figure.
    """
    from mien.cli.terminal import OUT, summaries
    from mien.folder import Folder
    from mien.results import report as reports
    from mien.results.run import Series

    if len(runs) < 2:
        raise MienError("compare: give two or more folders that `mien train` printed")
    found = [Series.open(uri) for uri in runs]
    paths = reports.compare(found, out)
    summaries(found)
    for line in reports.comparison_lines(Folder(out).read_json("compare.json")):
        OUT.print(line, soft_wrap=True, markup=False)
    for path in paths:
        print(path)


def runs_list(storage: Annotated[str, Positional] = "runs", json: bool = False) -> None:
    """What a storage holds: series and searches, runs done, protocol, and the test UAR of what was reported.

    Args:
        storage: A folder or s3://bucket/prefix, as was given to `--storage`.
        json: Print it as JSON.
    """
    from mien.cli.terminal import table
    from mien.folder import Folder
    from mien.results.pull import held

    records = list(held(Folder(storage)))
    if json:
        print(json_.dumps(records, indent=2))
        return
    if not records:
        raise MienError(f"{Folder(storage)}: no runs here; give what was given to --storage")
    rows = [
        [
            *(r[name] for name in ("experiment", "signature", "kind", "done", "protocol")),
            "synthetic" if r["synthetic"] else "recorded",
            "" if r.get("uar") is None else f"{r['uar']:.4f}",
        ]
        for r in records
    ]
    table(["experiment", "signature", "", "done", "protocol", "clips", "test UAR"], rows)


def runs_pull(
    storage: Annotated[str, Positional],
    directory: Annotated[str, Positional] = "runs",
    only: str = "",
    checkpoints: bool = False,
    json: bool = False,
) -> None:
    """Copy runs from a bucket, to read and report them here. Asked again, it copies only what is missing or changed.

    Args:
        storage: s3://bucket/prefix (or a folder), as was given to `--storage`.
        directory: Where to.
        only: EXPERIMENT or EXPERIMENT/SIGNATURE, and the baselines that it is reported beside.
        checkpoints: Copy checkpoints too: to go on training here.
        json: Print what was copied as JSON.
    """
    from mien.cli.terminal import bar
    from mien.folder import Folder
    from mien.results.pull import pull

    with bar("files", enabled=not json) as advance:
        pulled = pull(Folder(storage), Folder(directory), only=only, checkpoints=checkpoints, progress=advance)
    if json:
        print(json_.dumps(pulled._asdict(), indent=2))
        return
    print(
        f"{Folder(directory)}: {pulled.n_copied} files copied, {pulled.n_bytes / 1e6:.1f} MB; "
        f"{pulled.n_same} were here already"
    )
