"""mien report, compare, runs: what runs left, to read, compare, verify and fetch it. Heavy imports stand inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from tyro.conf import Positional, arg

from mien.cli.terminal import ERR, OUT, bar, print_json, table
from mien.errors import MienError


def report(runs: Annotated[tuple[str, ...], Positional, arg(metavar="RUN")], json: bool = False) -> None:
    """Write the report of each series or search anew, from its directory alone: no ray, no framework.

    Args:
        runs: Folders that `mien train` or `mien search` printed; or a storage, or an experiment's folder in it, for an
            overview of all that it holds.
        json: Print metrics.json of series and analysis.json of searches, by folder.
    """
    from mien.cli.summaries import searched, summaries
    from mien.folder import Folder
    from mien.results import report as reports
    from mien.results.run import Series
    from mien.results.search_folder import SearchFolder

    if not runs:
        raise MienError("report: give a folder that `mien train` or `mien search` printed")
    searches = [SearchFolder.open(uri) for uri in runs if Folder(uri).exists("search.json")]
    above = [uri for uri in runs if reports.is_above(Folder(uri))]
    for uri in above:
        print(f"overview: {reports.overview(Folder(uri))}")
    found = [Series.open(uri) for uri in runs if uri not in above and not Folder(uri).exists("search.json")]
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
        print_json(analyses | metrics)
    elif found:
        summaries(found)
        for series in found:
            print(f"report: {series.folder.path('report.html')}")


def compare(runs: Annotated[tuple[str, ...], Positional, arg(metavar="RUN")], out: str = "comparison") -> None:
    """Set series side by side: differences on the same clips, with intervals, and the leakage gap.

    Args:
        runs: Two or more folders that `mien train` printed; the first is what the others are compared with.
        out: Folder, or s3://bucket/prefix, for compare.html, compare.json and the figure.
    """
    from mien.cli.summaries import summaries
    from mien.folder import Folder
    from mien.results import report as reports
    from mien.results.run import Series
    from mien.results.settings import labels

    if len(runs) < 2:
        raise MienError("compare: give two or more folders that `mien train` printed")
    found = [Series.open(uri) for uri in runs]
    paths = reports.compare(found, out)
    summaries(found, names=labels(found))
    for line in reports.comparison_lines(Folder(out).read_json("compare.json")):
        OUT.print(line, soft_wrap=True, markup=False)
    for path in paths:
        print(path)


def runs_list(storage: Annotated[str, Positional, arg(metavar="STORAGE")] = "runs", json: bool = False) -> None:
    """What a storage holds: series and searches, runs done, protocol, and the test score of what was reported.

    Args:
        storage: A folder or s3://bucket/prefix, as was given to `--storage`.
        json: Print it as JSON.
    """
    from mien.folder import Folder
    from mien.results.metrics import metric_named
    from mien.results.pull import held

    records = list(held(Folder(storage)))
    if json:
        print_json(records)
        return
    if not records:
        raise MienError(f"{Folder(storage)}: no runs here; give what was given to --storage")
    rows = [
        [
            _described(r),
            f"{r['done']}\n{r.get('date') or ''}",
            "" if r.get("score") is None else f"{metric_named(r['score_name']).label} {_score(r)}",
            "" if r.get("baseline") is None else f"{r['baseline']:.3f}",
        ]
        for r in records
    ]
    table(["series or search", "done", "test score", "baseline"], rows)


def _described(record: Mapping[str, Any]) -> str:
    """Its name, and below it what tells it from others of that name."""
    name = "/".join(filter(None, (record["experiment"], record["signature"])))
    clips = "synthetic clips" if record["synthetic"] else ""
    return f"{name}\n  {', '.join(filter(None, (record['protocol'], clips, record.get('apart'))))}"


def _score(record: Mapping[str, Any]) -> str:
    interval = "" if record["low"] is None else f"\n[{record['low']:.3f}, {record['high']:.3f}]"
    return f"{record['score']:.3f}{interval}"


def runs_pull(
    storage: Annotated[str, Positional, arg(metavar="STORAGE")],
    directory: Annotated[str, Positional, arg(metavar="DIRECTORY")] = "runs",
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
    from mien.folder import Folder
    from mien.results.pull import pull

    with bar("files", enabled=not json) as advance:
        pulled = pull(Folder(storage), Folder(directory), only=only, checkpoints=checkpoints, progress=advance)
    for name, why in pulled.left.items():
        ERR.print(f"warning: {name!r} stays in {storage}: {why}", soft_wrap=True, markup=False)
    if json:
        print_json(pulled._asdict())
        return
    print(
        f"{Folder(directory)}: {pulled.n_copied} files copied, {pulled.n_bytes / 1e6:.1f} MB; "
        f"{pulled.n_same} were here already"
    )


def runs_verify(runs: Annotated[str, Positional] = "runs", all: bool = False, json: bool = False) -> None:
    """Read every file of runs, checkpoints and searches and compare it with what was written. Exit code 2 where
    something is damaged.

    Args:
        runs: A run, a series, a search, or a storage of many: a folder or s3://bucket/prefix.
        all: Print every finding, not the first three of each kind.
        json: Print the findings as JSON.
    """
    from dataclasses import asdict

    from mien.cli.summaries import findings
    from mien.folder import Folder
    from mien.results.verify import verify

    folder = Folder(runs)
    with bar("runs", enabled=not json) as advance:
        found = verify(folder, advance)
    if json:
        print_json(
            {
                "intact": not found.n_errors,
                "n_runs": found.n_runs,
                "findings": [asdict(finding) for finding in found.findings],
            }
        )
    else:
        verdict = f"NOT intact, {found.n_errors} errors" if found.n_errors else "intact"
        OUT.print(f"{folder}: {found.n_runs} runs, {verdict}", soft_wrap=True, markup=False)
        findings(found.findings, every=all)
        OUT.print("NOT intact: see the errors above" if found.n_errors else "intact")
    if found.n_errors:
        raise SystemExit(2)
