"""Summaries: what a command prints at its end, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from mien.cli.terminal import OUT, table

if TYPE_CHECKING:
    from mien.corpora import Verification
    from mien.errors import Finding
    from mien.features.prepare import Prepared
    from mien.results.run import Series
    from mien.results.search_folder import SearchFolder

N_EXAMPLES = 3  # of findings of one kind
ENDED = ("done", "pruned", "failed")  # states of a trial


def verification(found: Verification, *, every: bool = False) -> None:
    """The verdict, counts against those expected, what was noticed, worst first, and the verdict again.

    every: each finding, and not the first three of each kind.
    """
    OUT.print(f"{found.root}: {'intact' if found.intact else 'NOT intact'}", soft_wrap=True, markup=False)
    table(
        [found.corpus, "found", "expected"],
        [[part, n_found, published] for part, (n_found, published) in found.counts.items()],
    )
    findings(found.findings, every=every)
    OUT.print("intact" if found.intact else "NOT intact: see the errors above")


def findings(found: Sequence[Finding], *, every: bool = False) -> None:
    """What was noticed, worst first; of each kind the first three, or every one."""
    order = {"error": 0, "warning": 1, "info": 2}
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in sorted(found, key=lambda finding: order[finding.severity]):
        kinds.setdefault((finding.severity, finding.what), []).append(finding)
    for (severity, what), some in kinds.items():
        shown = some if every else some[:N_EXAMPLES]
        for finding in shown:
            OUT.print(f"{severity}: {what}: {finding.path} {finding.detail}".rstrip(), soft_wrap=True, markup=False)
        if len(shown) < len(some):
            OUT.print(f"{severity}: {what}: {len(some) - len(shown):,} more like these; --all prints them")


def prepared(summary: Prepared) -> None:
    """Rows and rejects of each feature, and why clips were rejected."""
    rows = [
        [feature.name, feature.n_rows, feature.n_rejects, feature.n_extracted, feature.folder]
        for feature in summary.features
    ]
    table([summary.corpus, "rows", "rejects", "extracted now", "in " + summary.store], rows)
    if summary.n_import_rejects:
        why = ", ".join(f"{n_files} {reason}" for reason, n_files in summary.import_reasons.items())
        where = f"{summary.corpus}/rejects.parquet"
        OUT.print(f"{summary.n_import_rejects} files became no clip ({why}): see {where}", soft_wrap=True, markup=False)
    for feature in summary.features:
        for reason, n_clips in sorted(feature.reasons.items(), key=lambda item: -item[1]):
            OUT.print(f"{feature.name}: {n_clips} clips rejected: {reason}", markup=False)
        if feature.n_rejects:
            before = feature.n_rejects - feature.n_rejected
            again = f"; {before} are from before, --retry-rejects tries them again" if before > 0 else ""
            OUT.print(f"{feature.name}: see {summary.corpus}/{feature.folder}/rejects.parquet{again}", soft_wrap=True)


def summaries(found: Sequence[Series], names: Sequence[str] = ()) -> None:
    """The headline of each series, side by side, under these names or those of the experiments."""
    from mien.results.report import summary_rows

    columns = [dict(summary_rows(series)) for series in found]
    rows = dict.fromkeys(name for column in columns for name in column)
    table(
        ["", *(names or [series.experiment.name for series in found])],
        [[name, *(escape(column.get(name, "")) for column in columns)] for name in rows],
    )


def searched(folder: SearchFolder) -> None:
    """A search that was reported: the winner of each fold, by its validation subjects, and what the test shows."""
    from mien.cli.progress import trial_point
    from mien.results.metrics import METRICS
    from mien.results.report import search_rows
    from mien.results.search_folder import rank_score

    target = folder.search.experiment.target
    label = METRICS[target.kind][target.primary].label
    rows: list[list[Any]] = []
    won = {}
    for fold, name in folder.data["folds"].items():
        trials = folder.trials(int(fold))
        winner = won[name] = folder.winner(int(fold))
        rows.append([name, *(sum(trial.state == state for trial in trials) for state in ENDED)])
        rows[-1] += ["none", ""] if winner is None else [winner.number, f"{rank_score(winner):.4f}"]
    table(["fold", *ENDED, "winner", f"its validation {label} (best of all, so optimistic)"], rows)
    for name, winner in won.items():
        if winner is not None:
            OUT.print(f"{name}, trial {winner.number}: {trial_point(winner)}", soft_wrap=True, markup=False)
    for name, answer in search_rows(folder.folder.read_json("analysis.json")):
        OUT.print(f"{name}: {answer}", soft_wrap=True, markup=False)
