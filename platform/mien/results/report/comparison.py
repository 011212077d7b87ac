"""Comparison of several Series on the clips that they share: table, forest plot and one page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import mien
from mien.errors import MienError
from mien.experiment.experiment import NOT_LEARNT
from mien.folder import Folder, undamaged
from mien.results.json_values import Json, as_json
from mien.results.metrics import metric_named
from mien.results.report import figures
from mien.results.report.estimates import correct, with_interval
from mien.results.report.kinds import KINDS
from mien.results.report.page import family, p_value, render
from mien.results.report.summary import differences, is_same_target, read_baseline, summarise
from mien.results.report.tested import Tested, n_relabelled, on_shared_clips, read_tested
from mien.results.report.wording import TRANSDUCTIVE, gap_sentence, measured_on, protocol_text
from mien.results.run import Series
from mien.results.settings import differing
from mien.results.settings import labels as labels_of
from mien.results.shapes import Compared

# What compare.json repeats of each series' own summary.
KEPT = (
    *("experiment", "signature", "protocol", "group", "label_source", "normalise", "target", "score_name"),
    *("n_clips", "n_subjects", "seeds", "n_folds", "interval", "test", "caveats"),
)


def compare(series: Sequence[Series], out: str | os.PathLike[str]) -> list[str]:
    """Write compare.html, compare.json and compare.png to a folder; returns the paths, the page first.

    All are set against the first, by its metrics, on the clips that both tested, subject by subject. The p-values of
    all series and metrics are one family (Holm), and so is a leakage gap between two that are not the first.
    Raises MienError for fewer than two, for one given twice, where one has no finished run, and where the folder holds
    the comparison of others.
    """
    if len(series) < 2:
        raise MienError("a comparison takes two series or more; give the folders that `mien train` printed")
    if len({one.folder for one in series}) < len(series):
        raise MienError("a series is given twice; each is compared with the first, so give each once")
    folder = Folder(out).make()
    _check_free(folder, series)
    tested = [read_tested(one) for one in series]
    labels = labels_of(series)
    entries = [_entry(label, one, its) for label, one, its in zip(labels, series, tested, strict=True)]
    primary = tested[0].target.primary
    for entry, its in zip(entries[1:], tested[1:], strict=True):
        entry["difference"] = paired_difference(its, tested[0])
    metrics = KINDS[tested[0].target.kind].MAIN
    family = [entry["difference"][name] for entry in entries[1:] for name in metrics if name in entry["difference"]]
    leakage = _leakage(series, tested, labels)
    family += [gap["difference"] for gap in leakage if labels[0] not in (gap["grouped"], gap["random"])]
    correct(family)
    for gap in leakage:
        _settle(gap, {entry["label"]: entry["difference"] for entry in entries[1:]}, labels[0])
    result: Json = as_json(
        {
            "reference": labels[0],
            "score_name": primary,
            "metrics": metrics,
            "n_tests": len(family),
            "series": entries,
            "settings": differing([one.experiment for one in series]),
            "leakage": leakage,
        }
    )
    folder.write_json("compare.json", result)
    forest = _forest(result)
    folder.write_bytes("compare.png", figures.png(forest))
    values = {
        **result,
        "labels": labels,
        "transductive": TRANSDUCTIVE,
        "metric_labels": {name: metric_named(name).label for name in result["metrics"]},
        "lower": [metric_named(m).label for m in result["metrics"] if not metric_named(m).higher_is_better],
        "mien_version": mien.__version__,
    }
    folder.write_text("compare.html", render("compare.html", values, {"forest": figures.svg(forest)}))
    return [folder.path(name) for name in ("compare.html", "compare.json", "compare.png")]


def _check_free(folder: Folder, series: Sequence[Series]) -> None:
    """The same comparison is made anew; another one is not overwritten."""
    if not folder.exists("compare.json"):
        return
    with undamaged(folder.path("compare.json")):
        held = [entry["folder"] for entry in folder.read_json("compare.json", Compared)["series"]]
    if sorted(held) != sorted(one.folder.uri for one in series):
        raise MienError(f"out {folder}: holds the comparison of {', '.join(held)}; name another folder, or delete it")


def _forest(result: Json) -> Any:
    """The first one's score of each series that has it."""
    primary = result["score_name"]
    shown = [e for e in result["series"] if e["test"].get(primary, {}).get("value") is not None]
    estimates = [
        figures.Estimate(
            e["label"] + ("\n(transductive)" if e["normalise"] == "speaker" else ""),
            **{k: e["test"][primary][k] for k in ("value", "low", "high")},
        )
        for e in shown
    ]
    mark = result["series"][0]["test"][primary]["value"]
    return figures.forest(estimates, f"Test {metric_named(primary).label}, 95 % interval", mark=mark)


def comparison_lines(result: Json) -> list[str]:
    """What a terminal shows of compare.json: the difference of each to the first, or why there is none; the gaps."""
    lines = [
        f"{one['label']}: {TRANSDUCTIVE}, not to be compared with figures that are not"
        for one in result["series"]
        if one["normalise"] == "speaker"
    ]
    if result["n_tests"] > 1:
        lines.append(
            f"Holm: p corrected for all {result['n_tests']} tests of this comparison, a test for each metric and series"
        )
    for one in result["series"][1:]:
        difference = one["difference"]
        if "reason" in difference:
            lines.append(f"{one['label']} is not compared with {result['reference']}: {difference['reason']}")
            continue
        parts = [_line(metric_named(name).label, difference[name]) for name in result["metrics"]]
        n_clips = f"{difference['n_shared_clips']} shared clips"
        lines.append(f"{one['label']} less {result['reference']}, {n_clips}: {'; '.join(parts)}")
    return lines + [gap["sentence"] for gap in result["leakage"]]


def _line(label: str, difference: Json) -> str:
    holm_p = f" (Holm {p_value(difference['p_adjusted'])})" if difference["p_adjusted"] is not None else ""
    return f"{label} {with_interval(difference, signed=True)}, {p_value(difference['p_value'])}{holm_p}"


def _entry(label: str, series: Series, tested: Tested) -> Json:
    summary = summarise(series, tested, read_baseline(series))
    return {
        "label": label,
        "folder": series.folder.uri,
        "family": family(summary["family"]),
        "protocol_text": protocol_text(summary["protocol"], summary["group"], summary["official"]),
        "tested_on": measured_on(summary),
        **{key: summary[key] for key in KEPT},
        "difference": None,
    }


def paired_difference(tested: Tested, reference: Tested) -> Json:
    """Each metric against the reference, and on which clips; or why there is none."""
    if tested.target.kind != reference.target.kind:
        return {"reason": f"it predicts {tested.target.kind} and the first one {reference.target.kind}"}
    if not is_same_target(tested, reference.target):
        return {"reason": f"it predicts other {tested.target.kind} than the first"}
    mine, theirs = on_shared_clips(tested, reference)
    n_shared = len(mine.clip_ids)
    if not n_shared:
        return {"reason": "it was tested on none of the first one's clips"}
    if n := n_relabelled(mine, theirs):
        return {"reason": f"{n} of the shared clips have another label than in the first"}
    return {
        "n_shared_clips": n_shared,
        "n_clips_of_one_only": len(tested.clip_ids) + len(reference.clip_ids) - 2 * n_shared,
        **differences(mine, theirs),
    }


def _leakage(series: Sequence[Series], tested: Sequence[Tested], labels: Sequence[str]) -> list[Json]:
    """The gap of each pair that differs in nothing but a grouped against a random protocol."""
    found = []
    for grouped, random in permutations(range(len(series)), 2):
        protocols = [series[i].experiment.protocol for i in (grouped, random)]
        by = {"by-subject": "subject", "official": "subject", "loso": "subject", "by-group": protocols[0].group}
        group = by.get(protocols[0].kind)
        if group is None or protocols[1].kind != "random-leaky":
            continue
        if _asked(series[grouped]) != _asked(series[random]):
            continue
        name = tested[grouped].target.primary
        difference = as_json(paired_difference(tested[random], tested[grouped]))
        if name in difference:
            gap = {"grouped": labels[grouped], "random": labels[random], "group": group, "score_name": name}
            found.append({**gap, "difference": difference[name], "n_clips": difference["n_shared_clips"]})
    return found


def _settle(gap: Json, compared: Mapping[str, Json], reference: str) -> None:
    """Add the sentence; a gap to the first is a test of the table already, with the p that it has there."""
    name = gap["score_name"]
    if reference in (gap["grouped"], gap["random"]):
        other = gap["random"] if gap["grouped"] == reference else gap["grouped"]
        if name in compared[other]:
            gap["difference"]["p_adjusted"] = compared[other][name]["p_adjusted"]
    gap["sentence"] = gap_sentence(
        gap["grouped"], gap["random"], gap.pop("group"), name, gap["difference"], gap.pop("n_clips")
    )


def _asked(series: Series) -> Any:
    """All that decides what is learnt, but for the protocol."""
    left_out = (*NOT_LEARNT, "protocol")
    asked = {key: value for key, value in series.experiment.to_json().items() if key not in left_out}
    return asked, series.data["fingerprints"]
