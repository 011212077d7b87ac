"""The report of a search: who wins, what the test clips say of it, and what the data do and do not support."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT
from factories import QUESTIONS, search_directory, series_directory
from mien.cli.main import main
from mien.errors import MienError
from mien.experiment import DimensionsConfig
from mien.experiment.space import Choice, Range
from mien.results.metrics import METRICS
from mien.results.report import report_search
from mien.results.report.estimates import ALPHA, with_interval
from mien.results.report.search import pictures
from mien.results.report.search import report as search_report
from mien.results.report.search.ablation import cohens_dz, question_sentence, verdict
from mien.results.report.search.drawings import _budget, dots_of, height_label
from mien.results.report.search.importance import FEWEST_TRIALS, importances
from mien.results.report.search.pictures import Dot
from mien.results.search_folder import SearchFolder, Trial, ranked
from reading import Page, mean_recall

pytestmark = pytest.mark.slow

SMALL = {"n_subjects": 12, "folds": 2, "n_trials": 6, "epochs": 4}
ARMS = "none | audio | sync"
UAR, RMSE = METRICS["classes"]["uar"], METRICS["dimensions"]["rmse"]
N_REFITS = 2  # where what is asked is not how sure the importance is


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[SearchFolder, list[str]]:
    """Three folds, two seeds, 15 trials a fold; synchronised augmentation is truly better, focal loss truly is not."""
    folder = search_directory(tmp_path_factory.mktemp("runs"), questions=QUESTIONS | {"augment.kind": ARMS})
    return folder, report_search(folder, n_refits=N_REFITS)


@pytest.fixture(scope="module")
def reported(written) -> SearchFolder:
    return written[0]


def analysis(folder: SearchFolder) -> dict:
    """analysis.json of a report written now, with few draws."""
    report_search(folder, N_REFITS)
    return folder.folder.read_json("analysis.json")


def kinds(result: dict) -> set[str]:
    return {caveat["kind"] for caveat in result["caveats"]}


def question(result: dict, path: str) -> dict:
    return next(one for one in result["questions"] if one["path"] == path)


def trial(number: int, **changes) -> Trial:
    fields = {"fold": 0, "number": number, "signature": f"{number:08x}", "point": {}, "state": "done", "score": 0.5}
    return Trial(**(fields | changes))


def scored(folder: SearchFolder, one: Trial, score: float) -> None:
    """As if a trial had reached this score in its best epoch."""
    records = [record | {"score": score} if record["epoch"] == one.epoch else record for record in folder.history(one)]
    folder.run(one.fold, one.signature).write_history(records)
    folder.write_trial(one, score=score, history_sha256="")


# ------------------------------------------------------------------ who wins


@pytest.mark.parametrize(
    "better",
    [
        {"state": "pruned", "score": 0.9},
        {"state": "failed", "score": 0.9},
        {"state": "running", "score": 0.9},
        {"score": float("nan")},
        {"score": None},
    ],
)
def test_what_did_not_train_to_its_end_never_wins(better):
    trials = [trial(0, score=0.4), trial(1, score=0.6), trial(2, **better), trial(3, score=0.6)]
    assert [t.number for t in ranked(trials, UAR)] == [1, 3, 0]
    assert [t.number for t in ranked(trials, RMSE)] == [0, 1, 3]


def test_the_page_ranks_nothing_but_finished_trials(tmp_path):
    folder = search_directory(tmp_path, **SMALL, is_over=False)
    first, second, pruned = (t for t in folder.trials(0) if t.number in (0, 1, 2))
    scored(folder, pruned, 0.999)
    folder.write_trial(first, state="failed", score=0.998, reason="out of memory")
    folder.write_trial(second, state="running", score=0.997)
    winner = analysis(folder)["folds"][0]["winner"]
    assert winner["state"] == "done"
    assert winner["score"] == max(t.score for t in folder.trials(0) if t.state == "done")
    page = folder.folder.read_text("report.html")
    ranks = re.findall(r"winner</th><td class=\"n\">(0\.\d{3})", page)
    assert ranks == [f"{folder.winner(fold).score:.3f}" for fold in (0, 1)]
    assert page.count("out of memory") == 1  # among the failed, and nowhere else
    assert 'data-kind="unfinished"' in page


def test_the_report_and_the_folder_agree_on_the_winner(reported):
    for fold in reported.folder.read_json("analysis.json")["folds"]:
        assert fold["winner"]["signature"] == reported.winner(fold["fold"]).signature


def test_each_trial_stands_on_the_page_once(reported):
    """Ranked, not ranked, or failed."""
    page = reported.folder.read_text("report.html")
    counted = Counter(t.state for t in reported.trials())
    n_ranked = len(re.findall(r"<th scope=\"row\">(?:winner|\d+)</th><td class=\"n\">0", page))
    assert n_ranked == counted["done"]
    assert page.count('<td class="value">pruned</td>') == counted["pruned"] > 0
    assert page.count("the loss is not a number at epoch 2") == counted["failed"] > 0


# ------------------------------------------------------------------ what it is worth


def test_the_test_score_of_the_chosen_is_recomputed_by_hand(reported):
    """Folds pooled, a score a seed, and their mean."""
    chosen = reported.folder.read_json("chosen.json")
    scores = []
    for seed in chosen["seeds"]:
        truth, called = [], []
        for fold, signature in chosen["variants"]["chosen"]["signatures"].items():
            path = f"{signature}/seed-{seed}/fold-{fold}/predictions.parquet"
            frame = reported.folder.read_table(path).to_pandas()
            frame = frame[frame["side"] == "test"]
            truth.append(frame["truth"].to_numpy())
            called.append(frame[[c for c in frame if c.startswith("p_")]].to_numpy().argmax(axis=1))
        scores.append(mean_recall(np.concatenate(truth), np.concatenate(called)))
    result = reported.folder.read_json("analysis.json")
    selection = result["selection"]
    assert selection["test"]["value"] == pytest.approx(np.mean(scores), rel=1e-12)
    assert result["variants"]["chosen"]["score"] == selection["test"]
    winners = [reported.winner(fold).score for fold in range(3)]
    assert selection["validation_score"] == pytest.approx(np.mean(winners), rel=1e-12)
    assert selection["optimism"] == pytest.approx(np.mean(winners) - np.mean(scores), rel=1e-9)


def test_a_terminal_gets_the_test_score_and_what_selection_took(tmp_path, capsys):
    folder = search_directory(tmp_path, **SMALL, questions={})
    assert main(["report", folder.folder.uri]) == 0
    said = capsys.readouterr().out
    selection = folder.folder.read_json("analysis.json")["selection"]
    assert f"test UAR: {with_interval(selection['test'])}" in said
    looked = f"by so much their validation UAR, {selection['validation_score']:.3f}, looked better"
    assert f"optimism: {selection['optimism']:+.3f}: {looked}".replace("-", "−") in said
    assert "caution" not in said


def test_a_terminal_gets_no_test_score_of_a_search_that_is_not_over(tmp_path, capsys):
    folder = search_directory(tmp_path, **SMALL, is_over=False)
    assert main(["report", folder.folder.uri]) == 0
    said = capsys.readouterr().out
    assert "test UAR: none yet" in said
    assert "caution: The search is not over" in said


def test_json_of_searches_and_series_is_one_document(tmp_path, capsys):
    folder = search_directory(tmp_path, **SMALL, questions={})
    series = series_directory(tmp_path, n_subjects=4, folds=2, epochs=1)
    for run in series.runs():
        run.folder.write_text("report.html", "")
    assert main(["report", folder.folder.uri, series.folder.uri, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        folder.folder.uri: folder.folder.read_json("analysis.json"),
        series.folder.uri: series.folder.read_json("metrics.json"),
    }


def test_the_best_of_n_is_never_the_headline(reported):
    page = reported.folder.read_text("report.html")
    selection = reported.folder.read_json("analysis.json")["selection"]
    assert f'<span class="number">{selection["test"]["value"]:.3f}</span>' in page
    assert f'<span class="number">{selection["validation_score"]:.3f}</span>' not in page
    assert "selected by this number, so it is too high" in page
    assert f"the best of {', '.join(map(str, selection['n_compared']))} finished trials" in page
    assert f"{selection['validation_score']:.3f}" in page


def test_what_was_tested_is_told_from_what_leads_now(tmp_path):
    """A search that went on: the validation score beside the test is still that of the trial which was tested."""
    folder = search_directory(tmp_path, **SMALL, questions={})
    tested = folder.winner(0)
    other = next(t for t in folder.trials(0) if t.state == "done" and t != tested)
    before = analysis(folder)["selection"]
    scored(folder, other, 0.99)
    result = analysis(folder)
    assert result["folds"][0]["winner"]["signature"] == other.signature
    assert result["selection"]["overtaken"] == [0]
    assert result["selection"]["validation_score"] == before["validation_score"]
    assert "overtaken" in kinds(result)


def test_chosen_against_declared_is_paired(reported):
    """The declared experiment has no augmentation, so the search has found a real gain."""
    result = reported.folder.read_json("analysis.json")
    uar = result["declared"]["difference"]
    scores = {name: variant["score"]["value"] for name, variant in result["variants"].items()}
    assert uar["value"] == pytest.approx(scores["chosen"] - scores["as declared"])
    assert 0 < uar["low"] < uar["value"] < uar["high"]


# ------------------------------------------------------------------ what the data support


def test_the_better_is_called_better_and_the_equal_is_not(reported):
    result = reported.folder.read_json("analysis.json")
    augment, loss = question(result, "augment.kind"), question(result, "loss.kind")
    pairs = {tuple(pair["values"]): pair for pair in augment["comparisons"]}
    assert list(pairs) == [("audio", "none"), ("sync", "none"), ("sync", "audio")]
    assert augment["reference"] == "augment.kind = none"
    assert "these data support that sync is better than none" in pairs["sync", "none"]["verdict"]
    assert "no difference" in pairs["audio", "none"]["verdict"]
    assert "support that sync (+0." in augment["sentence"]
    assert "no difference for audio (" in augment["sentence"]
    assert "sync is better than audio" in augment["sentence"]
    (focal,) = loss["comparisons"]
    assert focal["difference"]["low"] < 0 < focal["difference"]["high"]
    assert re.fullmatch(
        r"loss\.kind: focal against cross-entropy, .0\.\d{3} UAR, 95 % interval −0\.\d{3} to \+0\.\d{3}, corrected "
        r"p = \d\.\d{3}: these data show no difference; more than 0\.\d{3} in favour of focal, or 0\.\d{3} in favour of "
        r"cross-entropy, is unlikely\.",
        loss["sentence"],
    )
    page = reported.folder.read_text("report.html")
    assert html.escape(augment["sentence"]) in page
    assert html.escape(loss["sentence"]) in page


def test_p_values_are_corrected_for_all_comparisons_of_the_page(reported):
    """Holm written out: the k-th smallest of m times m - k + 1, and no smaller than the one before."""
    result = reported.folder.read_json("analysis.json")
    pairs = [pair["difference"] for one in result["questions"] for pair in one["comparisons"]] + [
        result["declared"]["difference"]
    ]
    assert result["n_comparisons"] == len(pairs) == 5
    ordered = sorted(pairs, key=lambda pair: pair["p_value"])
    expected = [min(1.0, pair["p_value"] * (5 - k)) for k, pair in enumerate(ordered)]
    assert [pair["p_adjusted"] for pair in ordered] == pytest.approx(np.maximum.accumulate(expected))


def test_the_effect_size_is_that_of_subjects(reported):
    """Mean over standard deviation of the subjects' own differences in UAR, from the files."""
    chosen = reported.folder.read_json("chosen.json")

    def of_subjects(variant: str) -> dict[str, float]:
        rows: dict[str, list] = {}
        for fold, signature in chosen["variants"][variant]["signatures"].items():
            for seed in chosen["seeds"]:
                path = f"{signature}/seed-{seed}/fold-{fold}/predictions.parquet"
                frame = reported.folder.read_table(path).to_pandas()
                frame = frame[frame["side"] == "test"]
                called = frame[[c for c in frame if c.startswith("p_")]].to_numpy().argmax(axis=1)
                for subject, truth, guess in zip(frame["subject"], frame["truth"], called, strict=True):
                    rows.setdefault(subject, []).append((truth, guess))
        return {subject: mean_recall(*np.array(own).T) for subject, own in rows.items()}

    a, b = of_subjects("augment.kind = sync"), of_subjects("augment.kind = none")
    differences = np.array([a[subject] - b[subject] for subject in a])
    pairs = question(reported.folder.read_json("analysis.json"), "augment.kind")["comparisons"]
    found = next(pair for pair in pairs if pair["values"] == ["sync", "none"])
    assert found["n_subjects"] == len(differences) == 24
    assert found["dz"] == pytest.approx(differences.mean() / differences.std(ddof=1), abs=1e-6)
    assert cohens_dz(np.array([0.1, 0.1])) is None


def pair(
    value: float, low: float | None, high: float | None, p: float | None, adjusted: float | None, **changes
) -> dict:
    """p: of this comparison alone; adjusted: among all."""
    named = {"variant": "b", "reference": "a", "values": ["focal", "plain"], "score_name": "uar", "n_subjects": 24}
    found = named | changes
    difference = {"value": value, "low": low, "high": high, "p_value": p, "p_adjusted": adjusted}
    return {**found, "difference": difference | {"n_subjects": found["n_subjects"]}}


@pytest.mark.parametrize(
    ("found", "words", "never"),
    [
        (pair(0.02, 0.01, 0.03, 0.001, 0.004), "support that focal is better than plain", "no difference"),
        (pair(-0.02, -0.03, -0.01, 0.001, 0.004), "support that plain is better than focal", "no difference"),
        (pair(0.02, 0.01, 0.03, 0.001, 0.2), "a hint that focal is better than plain", "support"),  # p alone is small
        (pair(0.02, 0.01, 0.03, 0.049, 0.0499), "support that focal is better than plain", "hint"),
        (
            pair(0.02, 0.01, 0.03, 0.001, 0.004, n_subjects=5),
            "no difference is shown: 5 subjects can show no difference: were it of one sign in all of them, p would",
            "support",
        ),
        (pair(0.006, -0.004, 0.018, 0.56, 1.0), "more than 0.018 in favour of focal, or 0.004", "no effect"),
        (pair(0.02, 0.01, 0.03, 0.03125, 0.03125, n_subjects=6), "support that focal is better than plain", "hint"),
        (pair(0.0, -0.02, 0.02, 1.0, 1.0, n_subjects=4), "p would still be 0.125", "support"),
        (pair(0.006, None, None, None, None), "there is no interval, so nothing can be told", "no difference"),
        # Of an error less is better.
        (pair(-0.02, -0.03, -0.01, 0.001, 0.004, score_name="rmse"), "support that focal is better than plain", "hint"),
        (pair(0.02, 0.01, 0.03, 0.001, 0.2, score_name="mae"), "a hint that plain is better than focal", "support"),
        (
            pair(0.006, -0.004, 0.018, 0.56, 1.0, score_name="rmse"),
            "more than 0.004 in favour of focal, or 0.018",
            "is better",
        ),
    ],
)
def test_a_verdict_says_what_the_numbers_allow(found, words, never):
    found["verdict"] = verdict(found)
    assert words in found["verdict"]
    assert never not in found["verdict"]
    asked = {"path": "loss.kind", "comparisons": [found], "missing": [], "reference": "a"}
    assert found["verdict"] in question_sentence(asked)
    assert ALPHA == 0.05


@pytest.mark.parametrize(("score_name", "better"), [("uar", "focal"), ("rmse", "plain")])
def test_among_several_values_the_better_one_is_named(score_name, better):
    """b and c are compared with a, and score more than it by as much."""
    more = pair(0.02, 0.01, 0.03, 0.001, 0.004, score_name=score_name)
    pairs = [more, more | {"variant": "c", "values": ["other", "plain"]}]
    pairs = [one | {"verdict": verdict(one)} for one in pairs]
    sentence = question_sentence({"path": "loss.kind", "comparisons": pairs, "missing": [], "reference": "a"})
    said = "better" if better == "focal" else "worse"
    assert re.search(rf"these data support that focal \(.*\) and other \(.*\) are {said}", sentence), sentence


# ------------------------------------------------------------------ importance


def drawn(n: int) -> tuple[list[dict], list[float]]:
    """Points of a rate that decides the score and of a kind that does not."""
    rng = np.random.default_rng(0)
    points = [{"rate": 10 ** rng.uniform(-4, -2), "kind": ["a", "b"][rng.integers(2)]} for _ in range(n)]
    return points, [0.5 + 0.1 * np.log10(point["rate"]) + 0.005 * rng.normal() for point in points]


DRAWN_FROM = {"rate": Range(1e-4, 1e-2, True, False), "kind": Choice(("a", "b"))}


def test_the_field_that_decides_is_the_most_important():
    rate, kind = importances(*drawn(30), DRAWN_FROM, n_refits=10)
    assert (rate.path, kind.path) == ("rate", "kind")
    assert rate.low <= rate.value <= rate.high <= 1
    assert rate.value > 0.9 > kind.value
    assert rate.value > rate.chance
    assert kind.value < kind.chance


def test_a_range_on_a_logarithmic_scale_is_read_on_it():
    """A rate below 1e-3 costs more than the wrong kind does. On the scale that it was drawn from that is half of the
    rates; on a plain one it would be a tenth, and the kind the more important field."""
    rng = np.random.default_rng(1)
    points = [{"rate": 10 ** rng.uniform(-4, -2), "kind": ["a", "b"][rng.integers(2)]} for _ in range(60)]
    scores = [1.0 * (point["rate"] > 1e-3) + 0.75 * (point["kind"] == "a") for point in points]
    first, second = importances(points, scores, DRAWN_FROM, n_refits=5, with_chance=False)
    assert (first.path, second.path) == ("rate", "kind")
    # Shares of the variance: 1/4 and 0.75²/4 of both together.
    assert first.value == pytest.approx(0.64, abs=0.08)
    plain = DRAWN_FROM | {"rate": Range(1e-4, 1e-2, False, False)}
    assert importances(points, scores, plain, n_refits=5, with_chance=False)[0].path == "kind"


def test_shuffled_scores_make_nothing_more_important_than_chance():
    points, scores = drawn(30)
    rng = np.random.default_rng(3)
    rate = next(
        f for f in importances(points, list(rng.permutation(scores)), DRAWN_FROM, n_refits=10) if f.path == "rate"
    )
    assert rate.value < rate.chance


def test_importance_of_few_trials_or_of_one_score_is_not_defined():
    points, scores = drawn(FEWEST_TRIALS)
    assert importances(points, scores, DRAWN_FROM, n_refits=1)
    assert importances(points[1:], scores[1:], DRAWN_FROM) == []
    assert importances(points, [0.5] * len(points), DRAWN_FROM) == []


def test_pruned_trials_count_for_no_importance(tmp_path, monkeypatch):
    folder = search_directory(tmp_path, **SMALL, is_over=False)
    seen: list[int] = []
    monkeypatch.setattr(search_report, "importances", lambda points, *rest, **options: seen.append(len(points)) or [])
    report_search(folder)
    n_done = [sum(t.state == "done" for t in folder.trials(fold)) for fold in (0, 1)]
    assert seen == [*n_done, sum(n_done)]
    assert "importance is not defined" in folder.folder.read_text("report.html")


# ------------------------------------------------------------------ what is missing


def test_a_variant_that_lacks_a_run_is_named_and_compared_with_nothing(tmp_path):
    folder = search_directory(tmp_path, **SMALL)
    name = "loss.kind = focal"
    signature = folder.chosen["variants"][name]["signatures"]["1"]
    if signature == folder.chosen["variants"]["chosen"]["signatures"]["1"]:
        name = "loss.kind = cross-entropy"
        signature = folder.chosen["variants"][name]["signatures"]["1"]
    folder.series(signature).run(1, 1).folder.remove("DONE")
    result = analysis(folder)
    assert result["variants"][name]["score"] is None
    assert [(m["seed"], m["fold"]) for m in result["variants"][name]["missing"]] == [(1, 1)]
    loss = question(result, "loss.kind")
    assert loss["comparisons"] == []
    assert loss["sentence"] == f"loss.kind: no answer yet, not all runs of {name} are finished."
    assert question(result, "augment.kind")["comparisons"]
    assert "incomplete-variants" in kinds(result)
    assert "not finished: stopped after epoch 4" in folder.folder.read_text("report.html")


@pytest.mark.parametrize("gone", ["a run", "a series"])
def test_a_chosen_that_was_never_trained_leaves_no_test_score(tmp_path, gone):
    folder = search_directory(tmp_path, **SMALL, questions={"augment.kind": "none | sync"})
    signature = folder.chosen["variants"]["chosen"]["signatures"]["0"]
    (folder.folder / signature).remove("" if gone == "a series" else "seed-0")
    result = analysis(folder)
    assert result["selection"] is None
    assert result["declared"] is None
    page = folder.folder.read_text("report.html")
    assert "No test score yet" in page
    assert "not started" in page


def test_a_search_that_is_not_over_says_so(tmp_path):
    folder = search_directory(tmp_path, **SMALL, is_over=False)
    result = analysis(folder)
    assert "unfinished" in kinds(result)
    assert result["selection"] is None
    assert "no answer yet" in result["questions"][0]["sentence"]
    assert "No test score yet" in folder.folder.read_text("report.html")


def test_a_search_of_which_no_fold_has_a_winner_was_over_for_nothing(tmp_path):
    """chosen.json is there, and names nothing to test."""
    folder = search_directory(tmp_path, **SMALL)
    for one in folder.trials():
        folder.write_trial(one, state="pruned")
    chosen = folder.chosen
    variants = {name: {**variant, "signatures": {}} for name, variant in chosen["variants"].items()}
    folder.folder.write_json("chosen.json", {**chosen, "variants": variants})
    result = analysis(folder)
    assert "no-trial-done" in kinds(result)
    assert result["selection"] is None
    assert result["variants"] == {}


def test_a_search_without_a_finished_trial_has_an_honest_page(tmp_path):
    folder = search_directory(tmp_path, **SMALL, is_over=False)
    for one in folder.trials():
        folder.run(one.fold, one.signature).folder.remove("history.jsonl")
        folder.write_trial(one, state="failed", score=None, reason="no such file")
    paths = report_search(folder)
    page = folder.folder.read_text("report.html")
    assert 'data-kind="no-trial-done"' in page
    assert page.count("no such file") == 12
    assert not [path for path in paths if path.endswith(".png")]


def test_a_search_without_a_trial_is_an_error_with_the_remedy(tmp_path):
    folder = search_directory(tmp_path, **SMALL, is_over=False)
    for fold in (0, 1):
        (folder.folder / f"fold-{fold}").remove()
    with pytest.raises(MienError, match=r"no trial was begun.*mien search .*goes on"):
        report_search(folder)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"synthetic": True}, "synthetic"),
        ({"n_subjects": 5, "folds": 2}, "few-subjects"),
        ({"n_subjects": 18, "folds": 3, "searched": 2}, "partly-tested"),
    ],
)
def test_every_caveat_is_given_where_it_applies(tmp_path, options, kind):
    folder = search_directory(tmp_path, **(SMALL | {"questions": {}, "seeds": (0,)} | options))
    assert kinds(analysis(folder)) == {kind}


# ------------------------------------------------------------------ files and page


def test_all_files_are_written_and_named(written):
    reported, paths = written
    assert [Path(path).name for path in paths[:3]] == ["report.html", "analysis.json", "trials.csv"]
    assert {Path(path).stem for path in paths[3:]} == {
        *("variants", "importance", "parallel", "slices", "contour", "curves", "budget")
    }
    for path in paths[3:]:
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    rows = reported.folder.read_text("trials.csv").splitlines()
    assert len(rows) == 1 + len(reported.trials())
    assert "augment.kind" in rows[0].split(",")
    assert "NaN" not in reported.folder.read_text("analysis.json")


@pytest.mark.parametrize("n_fields", [1, 2, 3])
def test_the_labels_of_slices_stand_inside_the_picture(n_fields):
    space = {f"field.number_{i}": Range(0.0, 1.0, False, False) for i in range(n_fields)}
    dots = [Dot(dict.fromkeys(space, x), x - 0.5, x - 0.5, True, x == 0.9) for x in (0.1, 0.5, 0.9)]
    figure = pictures.slices(dots, space, height_label({0: "fold 0", 1: "fold 1"}, "Accuracy (WA)"))
    figure.draw_without_rendering()
    label = figure._supylabel.get_window_extent()
    assert figure.bbox.y0 <= label.y0 and label.y1 <= figure.bbox.y1
    assert figure.bbox.x0 <= label.x0


def test_the_page_fetches_nothing_and_describes_every_picture(reported):
    text = reported.folder.read_text("report.html")
    page = Page(text)
    assert not [url for url in page.fetched if not url.startswith(("data:", "#"))]
    assert not re.search(r"url\((?!['\"]?(#|data:))|@import", text)
    assert "script" not in page.tags
    assert page.tags.count("svg") == len(page.pictures) == 7
    assert all(len(label) > 15 for label in page.pictures)
    assert "None" not in text
    assert "nan" not in re.findall(r">([^<]*)<", text.lower())
    assert len(set(page.ids)) == len(page.ids)


def test_do_it_again_names_store_and_storage(reported):
    places = f"--store {Path.cwd()}/store --storage {reported.storage}"
    assert reported.folder == reported.storage / "search"
    assert f"mien search {reported.folder}/search.json {places}\n" in reported.folder.read_text("report.html")


def test_lists_and_whole_numbers_can_be_searched(tmp_path):
    space = {
        "augment.stretch": "[0.9, 1.1] | [0.8, 1.2]",
        "training.batch_size": "8 .. 64 log",
        "model.lstm_units": "16 .. 128",
    }
    folder = search_directory(tmp_path, **(SMALL | {"n_trials": 8}), space=space, questions={"loss.gamma": "0 | 2"})
    result = analysis(folder)
    assert {field["path"] for field in result["importance"]} == set(space)
    assert result["questions"][0]["comparisons"][0]["values"] == ["2", "0"]
    assert "0.8, 1.2" in folder.folder.read_text("report.html")


def test_a_search_is_read_without_ray_and_the_frameworks(tmp_path):
    folder = search_directory(tmp_path, **(SMALL | {"n_trials": 8}))
    code = (
        "import sys, json\nfrom mien.results.report.search import report_search\nfrom mien.results.search_folder import SearchFolder\n"
        "early = sorted({name.partition('.')[0] for name in sys.modules})\n"
        "report_search(SearchFolder.open(sys.argv[1]), n_refits=1)\n"
        "print(json.dumps([early, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder.folder.uri],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        check=True,
    )
    early, late = map(set, json.loads(done.stdout))
    assert not early & {"ray", "torch", "tensorflow", "keras", "optuna", "sklearn", "matplotlib", "pandas"}
    assert not late & {"ray", "torch", "tensorflow", "keras"}
    assert {"optuna", "sklearn"} <= late


def test_finalists_are_ranked_by_all_inner_splits(tmp_path):
    folder = search_directory(tmp_path, **SMALL)
    for fold in (0, 1):
        first, second, third, *_ = folder.ranked(folder.trials(fold))
        folder.write_trial(first, inner_score=0.25)
        folder.write_trial(second, inner_score=0.75)
        assert [trial.number for trial in folder.ranked(folder.trials(fold))[:3]] == [
            second.number,
            first.number,
            third.number,
        ]
    result = analysis(folder)
    assert [fold["winner"]["inner_score"] for fold in result["folds"]] == [0.75, 0.75]
    selection = result["selection"]
    assert selection["validation_score"] == 0.25, "of those that were tested, by what ranks them now"
    assert selection["overtaken"] == [0, 1]
    page = folder.folder.read_bytes("report.html").decode()
    assert page.count("All inner splits") == 2
    assert page.count('<th scope="row">winner</th><td class="n">0.750</td>') == 2


# ------------------------------------------------------------------ errors, which are better lower


@pytest.fixture(scope="module")
def of_errors(tmp_path_factory) -> SearchFolder:
    """A search by RMSE; synchronised augmentation truly lowers it."""
    target = DimensionsConfig(primary="rmse")
    small = {"n_subjects": 12, "folds": 2, "n_trials": 10, "epochs": 4}
    folder = search_directory(tmp_path_factory.mktemp("runs"), **small, target=target, questions={"augment.kind": ARMS})
    report_search(folder, N_REFITS)
    return folder


def test_the_lowest_error_wins(of_errors):
    result = of_errors.folder.read_json("analysis.json")
    for fold in (0, 1):
        done = [t for t in of_errors.trials(fold) if t.state == "done"]
        least = min(t.score for t in done)
        assert least < max(t.score for t in done)
        assert of_errors.winner(fold).score == least == result["folds"][fold]["winner"]["score"]
        assert of_errors.finalists(fold)[0].score == least
        history = of_errors.history(of_errors.winner(fold))
        assert least == min(record["score"] for record in history)
    assert result["score_name"] == "rmse"


def test_an_error_that_rises_from_validation_to_test_is_optimism(of_errors):
    selection = of_errors.folder.read_json("analysis.json")["selection"]
    validation = np.mean([of_errors.winner(fold).score for fold in (0, 1)])
    assert selection["validation_score"] == pytest.approx(validation)
    assert selection["optimism"] == pytest.approx(selection["test"]["value"] - validation)


def test_what_lowers_the_error_is_called_better(of_errors):
    (*_, found) = question(of_errors.folder.read_json("analysis.json"), "augment.kind")["comparisons"][:2]
    assert found["values"] == ["sync", "none"]
    assert found["difference"]["high"] < 0
    assert found["dz"] < 0
    assert "these data support that sync is better than none" in found["verdict"]
    page = of_errors.folder.read_text("report.html")
    assert "test RMSE (lower is better)" in page and "so it is too low" in page
    assert "UAR" not in page


def test_the_pictures_know_which_way_is_better(of_errors):
    trials = of_errors.trials()
    dots = dots_of(of_errors, trials)
    done = [dot for dot in dots if dot.is_done]
    assert [dot.merit for dot in dots] == [-dot.height for dot in dots]
    assert {dot.is_winner for dot in sorted(done, key=lambda dot: -dot.merit)[:1]} == {True}
    budget = _budget("fold 0", trials, 0, of_errors.metric)
    best = [value for value in budget.best if not np.isnan(value)]
    assert best == sorted(best, reverse=True) and best[0] > best[-1]
    assert best[-1] == of_errors.winner(0).score


def test_a_trial_of_an_older_mien_is_named(tmp_path):
    folder = search_directory(tmp_path, **SMALL, is_over=False)
    run = folder.run(0, folder.trials(0)[0].signature)
    old = run.folder.read_json("trial.json")
    run.folder.write_json("trial.json", {**old, "inner_uar": old.pop("inner_score")})
    with pytest.raises(MienError, match=r"trial\.json: has other fields than a trial has now"):
        folder.trials()
