"""Reports of dimensions: the same care as for classes, and errors that are better lower."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from factories import series_directory
from mien.experiment import DimensionsConfig
from mien.results.metrics import METRICS
from mien.results.report import compare, report, summary_rows
from mien.results.report.comparison import paired_difference
from mien.results.report.kinds import KINDS
from mien.results.report.summary import read_baseline, summarise
from mien.results.report.tested import read_tested
from mien.results.report.wording import baseline_sentence, statement
from mien.results.run import Series
from reading import Page

pytestmark = pytest.mark.slow

PLANE = DimensionsConfig()


@pytest.fixture(scope="module")
def agreed(tmp_path_factory) -> Series:
    """Valence and arousal: two seeds of two folds beside a weaker baseline, a tenth of the ratings missing."""
    storage = tmp_path_factory.mktemp("runs")
    series = series_directory(
        storage, n_subjects=12, folds=2, seeds=(0, 1), skill=1.5, baseline_skill=0.2, unrated=0.1, target=PLANE
    )
    for seed, fold in ((0, 0), (0, 1), (1, 0)):
        series.run(seed, fold).folder.write_text("report.html", "")  # one run's page will do
    report(series)
    return series


def summary_of(series: Series) -> dict:
    return summarise(series, read_tested(series), read_baseline(series))


def kinds(summary: dict) -> dict[str, str]:
    """Caveats: kind to text."""
    return {caveat["kind"]: f"{caveat['title']} {caveat['text']}" for caveat in summary["caveats"]}


def concordance(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Lin's formula of two series, missing ratings left out."""
    known = ~np.isnan(truth)
    t, p = truth[known], prediction[known]
    return 2 * np.cov(t, p, bias=True)[0, 1] / (t.var() + p.var() + (t.mean() - p.mean()) ** 2)


def test_the_headline_is_the_mean_of_the_dimensions_over_all_rows(agreed):
    frame = agreed.folder.read_table("predictions.parquet").to_pandas()
    frame = frame[frame["side"] == "test"]
    summary = agreed.folder.read_json("metrics.json")
    by_hand = {
        name: concordance(frame[f"truth_{name}"].to_numpy(), frame[f"predicted_{name}"].to_numpy())
        for name in ("valence", "arousal")
    }
    for name, expected in by_hand.items():
        assert summary["per_dimension"][name]["ccc"]["value"] == pytest.approx(expected, rel=1e-9)
        rated = frame[frame["seed"] == 0][f"truth_{name}"].notna().sum()
        assert summary["per_dimension"][name]["n_clips"] == rated == agreed.data["ratings"][name]["n_clips"]
    found = summary["test"]["ccc"]
    assert found["value"] == pytest.approx(np.mean(list(by_hand.values())), rel=1e-9)
    assert found["low"] < found["value"] < found["high"]
    assert (summary["score_name"], summary["guess"]) == ("ccc", 0)
    of_one = frame[frame["subject"] == "ravdess/03"]
    expected = concordance(of_one["truth_arousal"].to_numpy(), of_one["predicted_arousal"].to_numpy())
    assert summary["per_dimension"]["arousal"]["ccc_of_subjects"]["ravdess/03"] == pytest.approx(expected, rel=1e-9)


def test_all_that_is_shown_is_written(agreed):
    assert set(agreed.folder.names()) >= {
        *("metrics.json", "predictions.parquet", "report.html", "learning_curves.png", "fold_strip.png"),
        *("predicted_against_rated_test.png", "agreement_of_subjects.png"),
    }
    assert "confusion_matrix_test.png" not in agreed.folder.names()
    of_run = set(agreed.run(1, 1).folder.names())
    assert of_run >= {"predicted_against_rated_validation.png", "predicted_against_rated_test.png", "report.html"}
    for folder in (agreed.folder, agreed.run(1, 1).folder):
        text = folder.read_text("report.html")
        page = Page(text)
        assert page.tags.count("svg") == len(page.pictures) > 1
        assert all(len(label) > 15 for label in page.pictures)
        assert "None" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL)
        assert ">nan<" not in text.lower()
        assert "UAR" not in text
        for words in ("Concordance correlation (CCC), mean of valence and arousal", "RMSE", '<th scope="row">arousal'):
            assert words in text, words
    headline = agreed.folder.read_json("metrics.json")["test"]["ccc"]["value"]
    assert f'<span class="number">{headline:.3f}</span>' in agreed.folder.read_text("report.html")


def test_a_terminal_gets_the_headline_first(agreed):
    rows = summary_rows(agreed)
    expected = ["CCC", "CCC of the baseline", "difference to it", "CCC, seeds as one model"]
    assert [label for label, _ in rows[1:5]] == expected
    assert {"Pearson's r", "RMSE", "MAE"} <= dict(rows).keys()


@pytest.mark.parametrize(
    ("skill", "baseline_skill", "kind"),
    [(1.5, 0.2, None), (0.2, 1.5, "below-baseline"), (1.0, 1.01, "near-baseline"), (1.01, 1.0, "near-baseline")],
)
def test_a_lower_error_is_the_better_one(tmp_path, skill, baseline_skill, kind):
    """The better model has the lower RMSE, so its difference to the baseline is negative, and no caveat."""
    rmse = DimensionsConfig(primary="rmse")
    series = series_directory(tmp_path, n_subjects=12, folds=2, skill=skill, baseline_skill=baseline_skill, target=rmse)
    summary = summary_of(series)
    difference = summary["baseline"]["difference"]["rmse"]
    assert set(kinds(summary)) - {"validated-elsewhere"} == ({kind} if kind else set())
    if kind is None:
        assert difference["high"] < 0
        assert "clearly better" in baseline_sentence(summary)
    if kind == "below-baseline":
        assert difference["low"] > 0
        assert "clearly worse" in baseline_sentence(summary)
        assert f"better than this model by {difference['value']:.3f}" in kinds(summary)[kind]


@pytest.mark.parametrize(
    ("kind", "options", "word"),
    [
        ("proxy-labels", {"target": DimensionsConfig(source="proxy")}, "derived from something else than emotion"),
        ("synthetic", {"synthetic": True}, "made by a program"),
        ("random-weights", {"random_weights": True}, "facenet"),
        ("random-leaky", {"protocol": "random-leaky"}, "too high"),
    ],
)
def test_every_caveat_is_given_where_it_applies(tmp_path, kind, options, word):
    series = series_directory(tmp_path, **({"n_subjects": 12, "folds": 2, "target": PLANE} | options))
    assert word in kinds(summary_of(series))[kind]


@pytest.mark.parametrize(
    ("protocol", "group", "warned"),
    [
        ("by-subject", "", True),
        ("loso", "", True),
        ("by-group", "stimulus", True),
        ("by-group", "meeting", False),
        ("random-leaky", "", False),  # of which worse is said
    ],
)
def test_people_who_met_are_a_caveat_unless_meetings_stay_whole(tmp_path, protocol, group, warned):
    series = series_directory(tmp_path, n_subjects=12, folds=2, target=PLANE, protocol=protocol, group=group)
    assert not {"recorded-together", "shared-recording"} & kinds(summary_of(series)).keys()
    series.folder.write_json("data.json", {**series.data, "n_met": 7, "n_sharing": 4})
    found = kinds(summary_of(Series.open(series.folder.uri)))
    assert ("recorded-together" in found) == warned
    if warned:
        assert "7 subjects were recorded in one room" in found["recorded-together"]
        assert "--protocol.group meeting" in found["recorded-together"]
    assert "at least 4 subjects" in found["shared-recording"]


@pytest.mark.parametrize(
    ("protocol", "known", "people"),
    [("by-subject", True, False), ("loso", True, False), ("crossed", False, True), ("random-leaky", False, False)],
)
def test_films_that_others_saw_are_a_note_until_they_are_crossed(tmp_path, protocol, known, people):
    series = series_directory(tmp_path, n_subjects=12, folds=2, target=PLANE, protocol=protocol)
    assert "known-stimuli" not in kinds(summary_of(series))
    series.folder.write_json("data.json", {**series.data, "n_same_stimulus": 12})
    summary = summary_of(Series.open(series.folder.uri))
    found = kinds(summary)
    assert ("known-stimuli" in found, "interval-of-people" in found) == (known, people)
    if known:
        assert "12 subjects were recorded at a stimulus" in found["known-stimuli"]
        assert "--protocol.kind crossed" in found["known-stimuli"]
    if people:
        assert "each stimulus as it is" in found["interval-of-people"]
        assert "Protocol crossed: no person and no stimulus on both sides of a split." in statement(summary)


def test_a_dimension_without_a_rating_leaves_the_score_to_the_others(tmp_path):
    series = series_directory(tmp_path, n_subjects=12, folds=2, target=PLANE)
    for run in series.runs():
        table = run.predictions()
        column = table.column_names.index("truth_arousal")
        run.write_predictions(table.set_column(column, "truth_arousal", pa.nulls(table.num_rows, pa.float64())))
        run.finish()
        run.folder.write_text("report.html", "")
    report(series)
    summary = series.folder.read_json("metrics.json")
    assert summary["test"]["ccc"]["value"] == summary["per_dimension"]["valence"]["ccc"]["value"]
    assert summary["per_dimension"]["arousal"]["ccc"]["value"] is None
    assert "No rating of arousal" in kinds(summary)["unrated"]
    assert ">nan<" not in series.folder.read_text("report.html").lower()


def test_classes_are_not_compared_with_dimensions_nor_two_targets_of_dimensions(agreed, tmp_path):
    classes = series_directory(tmp_path, name="classes", n_subjects=12, folds=2)
    three = DimensionsConfig(names=("valence", "arousal", "dominance"))
    wider = series_directory(tmp_path, name="wider", n_subjects=12, folds=2, target=three)
    rmse = DimensionsConfig(primary="rmse")
    better = series_directory(tmp_path, name="better", n_subjects=12, folds=2, skill=3.0, unrated=0.1, target=rmse)
    compare([agreed, classes, wider, better], tmp_path / "out")
    result = json.loads((tmp_path / "out" / "compare.json").read_text())
    found = [one["difference"] for one in result["series"][1:]]
    assert found[0]["reason"] == "it predicts classes and the first one dimensions"
    assert found[1]["reason"] == "it predicts other dimensions than the first"
    assert set(found[2]) >= {"ccc", "pearson", "rmse", "mae"}, "what chose its epochs makes no other target"
    assert found[2]["ccc"]["low"] > 0 > found[2]["rmse"]["high"]
    assert all(found[2][metric]["p_adjusted"] >= found[2][metric]["p_value"] for metric in result["metrics"])
    assert "of RMSE and MAE lower is better" in (tmp_path / "out" / "compare.html").read_text()


def test_ratings_that_were_changed_are_another_label(agreed, tmp_path):
    other = series_directory(tmp_path, n_subjects=12, folds=2, unrated=0.1, target=PLANE)
    run = other.run(0, 0)
    table = run.predictions()
    column = table.column_names.index("truth_valence")
    run.write_predictions(table.set_column(column, "truth_valence", pc.add(table["truth_valence"], 0.25)))
    run.finish()
    frame = table.to_pandas()
    n_changed = frame[frame["side"] == "test"]["truth_valence"].notna().sum()
    found = paired_difference(read_tested(other), read_tested(agreed))
    assert found == {"reason": f"{n_changed} of the shared clips have another label than in the first"}


def test_every_kind_of_target_offers_the_same_to_a_report():
    asked = {
        *(
            "MAIN",
            "MORE",
            "PARTS",
            "LACKING",
            "GUESS",
            "EXPLAINED",
            "measure",
            "guess",
            "parts",
            "more_scores",
            "files",
        ),
        *(
            "draw",
            "alts",
            "page_values",
            "draw_run",
            "draw_history",
            "scaled",
            "run_files",
            "run_values",
            "part_table",
            "both_sure",
        ),
    }
    assert set(KINDS) == set(METRICS)
    for kind, module in KINDS.items():
        assert asked <= set(vars(module))
        assert (*module.MAIN, *module.MORE) == tuple(METRICS[kind])
