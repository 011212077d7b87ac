"""What a report says of calibration, of groups and of time, and the card of a run, computed by other means."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from huggingface_hub import ModelCard

from factories import rewrite, series_directory
from mien.errors import DamagedError
from mien.experiment import DimensionsConfig, Experiment, TrainingConfig
from mien.experiment.target import TargetSpec
from mien.folder import Folder
from mien.results.clips import ATTRIBUTES, Clips, read_clips, write_clips
from mien.results.intervals import Scored
from mien.results.report import report
from mien.results.report import tested as tests
from mien.results.report.card import CorpusFacts, model_card
from mien.results.report.classes import draw_history
from mien.results.report.groups import age_band, caution, groups
from mien.results.report.trace import read_trace, words_of_trace
from mien.results.run import Series
from mien.results.verify import verify
from reading import Page, mean_recall

FACTS = {"ravdess": CorpusFacts("Title | of it", "CC BY-NC-SA 4.0", "Livingstone & Russo 2018")}


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> Series:
    """Two seeds of two folds of 12 people, with the report of the series and of one run."""
    series = series_directory(
        tmp_path_factory.mktemp("runs"), n_subjects=12, folds=2, seeds=(0, 1), skill=1.5, baseline_skill=0.8
    )
    for seed, fold in ((0, 1), (1, 0), (1, 1)):
        series.run(seed, fold).folder.write_text("report.html", "")
    report(series)
    return series


@pytest.fixture(scope="module")
def older(tmp_path_factory) -> Series:
    """The same as an older mien left it, and its report."""
    series = series_directory(tmp_path_factory.mktemp("runs"), n_subjects=6, folds=2, older=True)
    series.run(0, 1).folder.write_text("report.html", "")
    report(series)
    return series


def rows_of(series: Series, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clip ids, truth and probabilities of the test clips of a seed; fold by fold at the temperature of that run."""
    ids, truths, scaled = [], [], []
    for fold in (0, 1):
        run = series.run(seed, fold)
        table = run.predictions()
        table = table.filter(pc.equal(table["side"], "test"))
        temperature = run.folder.read_json("model/recipe.json")["temperature"]
        logits = np.log(np.stack([table[f"p_{name}"].to_numpy() for name in series.target.names], axis=1)) / temperature
        ids.append(np.array(table["clip_id"].to_pylist()))
        truths.append(table["truth"].to_numpy())
        scaled.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    return np.concatenate(ids), np.concatenate(truths), np.concatenate(scaled)


# ------------------------------------------------------------------ calibration


@pytest.mark.slow
def test_after_scaling_each_run_is_at_its_own_temperature(reported):
    summary = reported.folder.read_json("metrics.json")
    found = summary["calibrated"]
    recipes = [run.folder.read_json("model/recipe.json")["temperature"] for run in reported.runs()]
    assert [run["temperature"] for run in summary["runs"]] == recipes
    assert len(set(recipes)) == 4, "no test where all are the same"
    assert found["temperature"] == pytest.approx(
        {"median": np.median(recipes), "least": min(recipes), "most": max(recipes)}
    )
    losses, gaps = [], []
    for seed in (0, 1):
        _, truth, p = rows_of(reported, seed)
        losses.append(-np.log(p[np.arange(len(p)), truth]).mean())
        gaps.append((p.max(axis=1) - (p.argmax(axis=1) == truth)).mean())
    assert found["nll"]["value"] == pytest.approx(np.mean(losses), rel=1e-9)
    assert found["overconfidence"]["value"] == pytest.approx(np.mean(gaps), abs=1e-9)
    assert found["nll"]["low"] < found["nll"]["value"] < found["nll"]["high"]
    difference = found["difference"]["nll"]
    assert difference["value"] == pytest.approx(found["nll"]["value"] - summary["test"]["nll"]["value"])
    assert difference["low"] < difference["value"] < difference["high"] and difference["p_adjusted"] <= 1
    assert sum(found["reliability"]["count"]) == 2 * summary["n_clips"]


@pytest.mark.slow
def test_pages_show_before_and_after_and_which_way_each_errs(reported):
    for folder in (reported.folder, reported.run(0, 0).folder):
        page = folder.read_text("report.html")
        assert page.count("At its temperature") >= 2 and "After − before" in page
        assert re.search(r"As trained: (under|over|neither).*At its temperature: (under|over|neither)", page, re.DOTALL)
        assert "as trained</text>" in page and "at its temperature</text>" in page
        assert folder.read_bytes("reliability.png").startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_model_of_one_pass_or_of_the_last_epoch_held_nothing_out(reported, tmp_path):
    baseline = reported.baseline
    for run in baseline.runs():
        run.folder.write_text("report.html", "")
    report(baseline)
    assert baseline.folder.read_json("metrics.json")["calibrated"] is None
    last = Experiment(name="last", training=TrainingConfig(keep="last"))
    series = series_directory(tmp_path, n_subjects=4, folds=2, epochs=1, older=True, experiment=last)
    for run in series.runs():
        table = run.predictions()
        run.write_predictions(table.filter(pc.equal(table["side"], "test")))
        run.finish()
        run.folder.write_text("report.html", "")
    report(series)
    page = series.folder.read_text("report.html")
    assert "nothing was held out to fit it on: the last epoch is kept" in page


@pytest.mark.slow
def test_what_an_older_mien_left_is_reported_and_says_what_is_not_there(older):
    summary = older.folder.read_json("metrics.json")
    assert summary["calibrated"] is None and summary["groups"] is None
    page = older.folder.read_text("report.html")
    assert "an older mien trained this" in page and "is not noted here (clips.parquet)" in page
    run = older.run(0, 0).folder
    assert "an older mien trained this" in run.read_text("report.html")
    assert not run.exists("confusion_matrix_epochs.png") and run.exists("confusion_matrix_test.png")
    for folder in (older.folder, run):
        text = folder.read_text("report.html")
        assert Page(text).tags.count("svg") == len(Page(text).pictures) > 1
        assert "None" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL)


# ------------------------------------------------------------------ epochs


@pytest.mark.slow
def test_a_run_has_a_report_by_class_of_both_sides_and_confusions_of_several_epochs(reported):
    run = reported.run(0, 0)
    names = set(run.folder.names())
    assert {"confusion_matrix_epochs.png", "classification_report_validation.json"} <= names
    table = run.predictions()
    table = table.filter(pc.equal(table["side"], "validation"))
    p = np.stack([table[f"p_{name}"].to_numpy() for name in reported.target.names], axis=1)
    found = run.folder.read_json("classification_report_validation.json")
    assert found["macro avg"]["recall"] == pytest.approx(mean_recall(table["truth"].to_numpy(), p.argmax(axis=1)))
    assert found["macro avg"]["support"] == len(p)


def test_the_epochs_drawn_are_the_first_the_middle_the_best_and_the_last():
    target = TargetSpec("classes", ("a", "b"), "uar")
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9, 0.5, 0.4]
    history = [
        {"epoch": n, "score": s, "score_name": "uar", "validation_loss": 1.0, "validation_confusion": [[n, 0], [0, n]]}
        for n, s in enumerate(scores, start=1)
    ]
    figure = draw_history(history, target)["confusion_matrix_epochs"]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Epoch 1, first", "Epoch 5, middle", "Epoch 7, best", "Epoch 9, last"]
    assert draw_history(history[:1], target) == {}
    older = [{**record, "validation_confusion": None} for record in history]
    assert draw_history(older, target) == {}


# ------------------------------------------------------------------ groups


@pytest.mark.slow
def test_groups_are_scored_as_by_hand(reported):
    summary = reported.folder.read_json("metrics.json")
    found = summary["groups"]
    assert set(found) == {"sex", "age", "intensity"}, "the statement is not told, and there is one corpus"
    by_seed = []
    for seed in (0, 1):
        ids, truth, p = rows_of(reported, seed)
        women = np.array([int(clip_id[8:10]) % 2 == 1 for clip_id in ids])
        by_seed.append(mean_recall(truth[women], p[women].argmax(axis=1)))
    row = found["sex"]["female"]
    assert row["value"] == pytest.approx(np.mean(by_seed), rel=1e-9)
    assert row["low"] < row["value"] < row["high"]
    assert (row["n_clips"], row["n_subjects"], row["n_classes"]) == (72, 6, 6)
    assert list(found["age"]) == ["20 to 29", "30 to 39", "40 to 49", "50 to 59", "not told"]
    assert found["age"]["not told"]["n_subjects"] == 1 and found["age"]["not told"]["low"] is None
    assert sum(row["n_clips"] for row in found["age"].values()) == summary["n_clips"]
    page = reported.folder.read_text("report.html")
    assert "By group of people and recordings" in page and "too small for an interval: one person" in page
    assert "9 groups are shown, and nothing is corrected for that" in page


def test_a_group_lacks_classes_and_an_attribute_parts_the_clips_or_is_left_out():
    ids = np.array([f"c/{n}" for n in range(44)])
    subjects = np.array([f"c/s{n % 4}" for n in range(44)])
    words = {
        "sex": np.array(["female"] * 44),  # parts nothing
        "age": np.array(["31", "35", "42", ""] * 11),
        "intensity": np.array(["low", "high"] * 22),
        "statement": ids,  # a sentence each
    }
    clips = Clips(ids, subjects, np.array(["c", "d"] * 22), np.zeros(44), words, {})
    truth = np.arange(44) % 2
    scored = Scored(truth, np.eye(2)[(truth + (np.arange(44) < 6)) % 2], subjects)
    found = groups(scored, ids, clips, TargetSpec("classes", ("calm", "angry"), "wa"))
    assert set(found) == {"age", "intensity", "corpus"}
    assert found["intensity"]["low"]["n_classes"] == 1
    assert found["intensity"]["low"]["value"] == pytest.approx(19 / 22)
    assert found["age"]["30 to 39"]["n_subjects"] == 2
    assert groups(scored, ids, None, TargetSpec("classes", ("calm", "angry"), "wa")) is None
    assert "7 groups" in caution(found, 4)
    assert [age_band(age) for age in ("9", "60.0", "-3", "nan", "26-30")] == [
        "0 to 9",
        "60 to 69",
        "-3",
        "nan",
        "26-30",
    ]


def told(n: int) -> Clips:
    words = {name: np.array(["a", ""] * n)[:n] for name in ATTRIBUTES}
    ids = np.array([f"c/{k}" for k in range(n)])
    return Clips(ids, ids, ids, np.arange(n) * 0.5, words, {"meeting": np.array(["m"] * n)})


def test_what_is_told_of_clips_comes_back_and_is_held_against_its_hash(tmp_path):
    series = series_directory(tmp_path, n_subjects=2, folds=2, epochs=1)
    rewrite(Path(series.folder.path("data.json")), clips_sha256=write_clips(series.folder, told(5)))
    found = read_clips(series)
    for one, other in zip(found.of(["c/3", "c/0"]), told(5).of(["c/3", "c/0"]), strict=True):
        np.testing.assert_equal(one, other)
    assert found.attributes["sex"].tolist() == ["a", "", "a", "", "a"]
    table = series.folder.read_table("clips.parquet")
    assert table["sex"].null_count == 2 and table["group_meeting"].to_pylist() == ["m"] * 5
    assert not verify(Folder(tmp_path)).findings
    for spoil in (lambda: write_clips(series.folder, told(4)), lambda: series.folder.remove("clips.parquet")):
        spoil()
        with pytest.raises(DamagedError, match=r"clips\.parquet: damaged"):
            read_clips(series)
        assert [finding.path for finding in verify(Folder(tmp_path)).findings] == [series.folder.path("clips.parquet")]


# ------------------------------------------------------------------ time


def traced(meetings: bool) -> tuple[tests.Tested, Clips]:
    """Three people of ten clips, and one of five; person k is predicted with k parts of noise. Clips are in no order."""
    rng = np.random.default_rng(0)
    numbers = [(person, turn) for person in range(4) for turn in range(5 if person == 3 else 10)]
    rng.shuffle(numbers)
    ids = np.array([f"c/{person}-{turn}" for person, turn in numbers])
    subjects = np.array([f"c/p{person}" for person, _ in numbers])
    truth = np.array([[np.sin(turn), np.cos(turn)] for _, turn in numbers])
    noise = np.array([[person * (-1.0) ** turn] for person, turn in numbers])
    groups = {"meeting": np.array([f"m{person % 2}" for person, _ in numbers])} if meetings else {}
    starts = np.array([120.0 * (10 - turn) if meetings else 0.0 for _, turn in numbers])
    clips = Clips(ids, subjects, subjects, starts, {name: np.full(len(ids), "") for name in ATTRIBUTES}, groups)
    order = np.argsort(ids)
    tested = tests.Tested(
        TargetSpec("dimensions", ("valence", "arousal"), "ccc"),
        (0,),
        (0,),
        ids[order],
        subjects[order],
        truth[order],
        (truth + 0.3 * noise)[None, order],
        (),
        (),
    )
    return tested, clips


@pytest.mark.parametrize("meetings", [True, False])
def test_the_stretch_of_the_median_ccc_is_shown_in_its_order(meetings):
    tested, clips = traced(meetings)
    trace = read_trace(tested, clips)
    assert [one.subject for one in trace.stretches] == ["c/p2", "c/p1", "c/p0"], "worst first; five clips are too few"
    shown = trace.shown
    turns = [int(clip_id.split("-")[1]) for clip_id in tested.clip_ids[shown.rows]]
    assert turns == (list(range(9, -1, -1)) if meetings else list(range(10)))
    assert shown.places.tolist() == ([2.0 * n for n in range(1, 11)] if meetings else list(range(1, 11)))
    assert shown.name == ("c/p1 in m1" if meetings else "c/p1")
    words = words_of_trace(trace)
    assert f"the best {trace.stretches[2].name}, 1.000" in words["caption"] and "valence" in words["alt"]
    assert read_trace(tested, None) is None


def test_trials_are_in_the_order_of_their_numbers():
    tested, clips = traced(False)
    names = {clip_id: f"c/{10 - int(clip_id[-1])}" for clip_id in clips.clip_ids if clip_id.startswith("c/0")}
    renamed = [np.array([names.get(one, one) for one in ids.tolist()]) for ids in (tested.clip_ids, clips.clip_ids)]
    tested.clip_ids[:], clips.clip_ids[:] = renamed
    best = read_trace(tested, clips).stretches[2]
    assert tested.clip_ids[best.rows].tolist() == [f"c/{n}" for n in range(1, 11)], "2 comes before 10"


@pytest.mark.slow
def test_a_report_of_dimensions_shows_a_person_through_a_meeting(tmp_path):
    series = series_directory(tmp_path, n_subjects=6, folds=2, target=DimensionsConfig(), clips_per_class=4, meetings=2)
    for run in series.runs():
        run.folder.write_text("report.html", "")
    paths = report(series)
    assert series.folder.path("trace_test.png") in paths
    page = series.folder.read_text("report.html")
    shown = read_trace(tests.read_tested(series), read_clips(series)).shown
    assert f"{shown.name}, 12 test clips in order. Of 12 such stretches" in page
    assert "Minutes into the meeting" in page
    assert any(label.startswith(f"Rated and predicted of {shown.name}") for label in Page(page).pictures)
    assert set(series.folder.read_json("metrics.json")["groups"]) == {"sex", "age", "intensity"}


# ------------------------------------------------------------------ card


def card_of(series: Series, **changes: object) -> str:
    return model_card(series.run(0, 0), series.experiment, {**series.data, **changes}, read_clips(series), FACTS)


@pytest.mark.slow
def test_a_card_holds_the_numbers_of_the_run_and_is_what_hugging_face_reads(reported):
    text = card_of(reported)
    card = ModelCard(text)
    scores = reported.run(0, 0).metrics()["test"]
    read = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert read == {name: pytest.approx(scores[name]) for name in ("uar", "wa", "macro_f1", "nll", "brier", "ece")}
    assert card.data.license == "other" and "lstm_attention" in card.data.tags
    temperature = reported.run(0, 0).folder.read_json("model/recipe.json")["temperature"]
    recall = scores["per_class"]["fear"]["recall"]
    for words in (
        f"| UAR | {scores['uar']:.3f} |",
        f"| fear | {recall:.3f} |",
        f"temperature **{temperature:.2f}**",
        "| 20 to 29 | ",
        "72 test clips of 6 subjects",
        "Article 5(1)(f)",
        "what actors were asked to show",
        "Title \\| of it",
        "CC BY-NC-SA 4.0",
        "Livingstone & Russo 2018",
    ):
        assert words in text, words
    assert "None" not in text and "nan" not in text.split("---", 2)[2].lower().replace("dominance", "")
    assert "Synthetic data" not in text


@pytest.mark.slow
def test_a_card_warns_and_what_users_wrote_is_no_markup(tmp_path, older):
    asked = Experiment(name="trial", question="Is 1 < 2 &\n# does <script>alert(1)</script> stay text?")
    series = series_directory(
        tmp_path, n_subjects=4, folds=2, epochs=1, synthetic=True, target=DimensionsConfig(), experiment=asked
    )
    text = card_of(series)
    assert "> **Synthetic data.**" in text and "> **2 subjects only.**" in text
    assert "&lt;script>" in text and "<script>" not in text and "\n# does" not in text
    assert "| valence | " in text and "Calibration" not in text
    assert ModelCard(text).data.eval_results[0].metric_type == "ccc"
    child = replace(series.experiment, parents=("voice/00000000",))
    text = model_card(series.run(0, 0), child, series.data, None, {})
    assert "the predictions of voice/00000000" in text and "Its parents were trained on" in text
    assert "| its owner's |" in text and "It was trained to answer" in text
    untold = card_of(older)
    assert "No temperature was fitted" in untold and "tell nothing of the test clips" in untold
