"""Reports: right numbers, every caution, whole pages, and honest words about what is missing."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import tiny
from conftest import ROOT
from factories import search_directory, series_directory
from mien.cli.main import main
from mien.cli.progress import training_events
from mien.errors import MienError
from mien.experiment import ClassesConfig, Experiment, LossConfig, SvmConfig, TrainingConfig
from mien.folder import Folder
from mien.results.clips import read_clips
from mien.results.intervals import Scored, holm
from mien.results.report import compare, figures, figures_of_classes, report, summary_rows
from mien.results.report.caveats import caveats
from mien.results.report.classes import classification_report, sureness
from mien.results.report.estimates import with_interval
from mien.results.report.figures import BLUE, MUTED, fold_strip
from mien.results.report.page import p_value
from mien.results.report.summary import read_baseline, summarise
from mien.results.report.tested import read_tested
from mien.results.report.wording import baseline_sentence, commands_again, gap_sentence
from mien.results.run import Run, Series
from mien.results.settings import differing, labels, settings
from mien.training.launch import open_series
from reading import Page, mean_recall

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> Series:
    """Two seeds of two folds beside a weaker baseline, with its report."""
    storage = tmp_path_factory.mktemp("runs")
    asked = Experiment(name="trial", question="Is 1 < 2 & does <script>alert(1)</script> stay text?")
    series = series_directory(
        storage, n_subjects=12, folds=2, seeds=(0, 1), skill=2.0, baseline_skill=0.8, experiment=asked
    )
    for seed, fold in ((0, 1), (1, 0), (1, 1)):
        series.run(seed, fold).folder.write_text("report.html", "")  # one run's page will do
    report(series)
    return series


def without_run_pages(series: Series) -> Series:
    """Its finished runs count as reported, so that only the page of the series is written."""
    for run in series.runs():
        if run.is_done:
            run.folder.write_text("report.html", "")
    return series


def summary_of(series: Series) -> dict:
    return summarise(series, read_tested(series), read_baseline(series))


def kinds(series: Series) -> dict[str, str]:
    """Caveats of a series: kind to text."""
    return {caveat["kind"]: f"{caveat['title']} {caveat['text']}" for caveat in summary_of(series)["caveats"]}


# ------------------------------------------------------------------ numbers


def test_the_headline_is_the_mean_over_seeds_of_the_pooled_folds(reported):
    table = reported.folder.read_table("predictions.parquet")
    table = table.filter(pc.equal(table["side"], "test"))
    columns = [f"p_{name}" for name in reported.target.names]
    by_seed = []
    for seed in (0, 1):
        rows = table.filter(pc.equal(table["seed"], seed))
        called = np.stack([rows[name].to_numpy() for name in columns], axis=1).argmax(axis=1)
        by_seed.append(mean_recall(rows["truth"].to_numpy(), called))
    found = reported.folder.read_json("metrics.json")["test"]["uar"]
    assert list(found["by_seed"].values()) == pytest.approx(by_seed, rel=1e-12)
    assert found["value"] == pytest.approx(np.mean(by_seed), rel=1e-12)
    assert found["sd_of_seeds"] == pytest.approx(np.std(by_seed, ddof=1), rel=1e-9)


def test_the_interval_is_that_of_other_subjects(reported):
    """The jackknife written out: each subject left out with all their clips, seeds kept together; t of 11 is 2.201."""
    tested = read_tested(reported)
    scores = []
    for subject in np.unique(tested.subjects):
        others = tested.subjects != subject
        called = tested.values[:, others].argmax(axis=2)
        scores.append(np.mean([mean_recall(tested.truth[others], seed) for seed in called]))
    found = reported.folder.read_json("metrics.json")["test"]["uar"]
    reach = 2.20098516 * np.sqrt(11 / 12 * np.sum((scores - np.mean(scores)) ** 2))
    assert [found["low"], found["high"]] == pytest.approx([found["value"] - reach, found["value"] + reach])


def test_every_clip_is_tested_once_a_seed(reported):
    tested = read_tested(reported)
    assert len(set(tested.clip_ids)) == len(tested.clip_ids) == reported.data["n_clips"]
    assert tested.values.shape == (2, reported.data["n_clips"], 6)
    by_class = reported.folder.read_json("metrics.json")["per_class"]
    assert {name: row["n_clips"] for name, row in by_class.items()} == reported.data["class_counts"]


def test_the_ensemble_is_stated_apart(reported):
    tested = read_tested(reported)
    called = tested.values.mean(axis=0).argmax(axis=1)
    summary = reported.folder.read_json("metrics.json")
    assert summary["ensemble"]["uar"]["value"] == pytest.approx(mean_recall(tested.truth, called))
    assert summary["ensemble"]["uar"]["value"] != summary["test"]["uar"]["value"]


def test_the_baseline_is_compared_on_the_same_clips(reported):
    summary = reported.folder.read_json("metrics.json")
    baseline, difference = summary["baseline"], summary["baseline"]["difference"]["uar"]
    assert baseline["n_shared_clips"] == summary["n_clips"]
    assert difference["value"] == pytest.approx(summary["test"]["uar"]["value"] - baseline["uar"]["value"])
    assert difference["low"] < difference["value"] < difference["high"]
    assert difference["p_value"] < 0.05


def test_report_by_class_is_that_of_a_hand_made_example():
    truth, called = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    scored = Scored(np.tile(truth, 2), np.eye(3)[np.tile(called, 2)], np.tile(["a", "b", "a", "b"], 2))
    found = classification_report(scored, ("anger", "fear", "joy"), n_seeds=2)
    assert found["anger"] == {
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1-score": pytest.approx(0.8),
        "support": 3,
    }
    assert found["fear"]["precision"] == 0.5
    assert found["joy"] == {"precision": None, "recall": None, "f1-score": None, "support": 0}
    assert found["macro avg"]["recall"] == pytest.approx(5 / 6)
    assert found["macro avg"]["precision"] == 0.75
    assert found["accuracy"] == 0.75


def test_a_class_absent_in_a_fold_is_no_zero(tmp_path):
    series = series_directory(tmp_path, n_subjects=3, folds=3, skill=9.0, absent_class="fear")
    summary = summary_of(series)
    assert summary["per_class"]["fear"]["n_clips"] == 4
    fold_0 = summary["runs"][0]
    assert fold_0["n_clips"] == 10
    assert fold_0["uar"] == 1.0  # over the five classes that it has


# ------------------------------------------------------------------ caveats


@pytest.mark.parametrize(
    ("kind", "options", "word"),
    [
        ("synthetic", {"synthetic": True}, "program"),
        ("random-weights", {"random_weights": True}, "facenet"),
        ("random-leaky", {"protocol": "random-leaky"}, "too high"),
        ("speaker-normalised", {"normalise": "speaker"}, "transductive"),
        ("few-subjects", {"n_subjects": 5}, "p would still be 0.0625"),
        ("one-subject", {"n_subjects": 1, "folds": 2, "protocol": "random-leaky"}, "one person"),
        (
            "absent-classes",
            {"n_subjects": 1, "folds": 2, "absent_class": "fear", "protocol": "random-leaky"},
            "fear",
        ),
        ("below-baseline", {"skill": 0.5, "baseline_skill": 2.0}, "support vector machine"),
        ("validated-elsewhere", {"folds": 3}, "12 of the 12 tested subjects are validation subjects of another fold"),
        ("near-baseline", {"skill": 1.55, "baseline_skill": 1.5}, "may be chance"),
        ("near-baseline", {"skill": 1.5, "baseline_skill": 1.55}, "may be chance"),
        ("no-baseline", {}, "--baseline"),
    ],
)
def test_every_caveat_is_given_where_it_applies(tmp_path, kind, options, word):
    plain = {"n_subjects": 12, "folds": 2, "skill": 2.0}
    assert word in kinds(series_directory(tmp_path, **(plain | options)))[kind]


def test_of_pictures_no_baseline_is_recommended(tmp_path):
    series = series_directory(tmp_path, n_subjects=12, folds=2)
    features = {name: {**spec, "codec": "jpeg"} for name, spec in series.data["features"].items()}
    series.folder.write_json("data.json", {**series.data, "features": features})
    found = kinds(Series.open(series.folder.uri))["no-baseline"]
    assert found.endswith("It cannot read pictures.") and "--baseline" not in found


@pytest.mark.parametrize(
    ("value", "low", "high", "title", "verdict"),
    [
        (-0.012, -0.086, 0.074, "Not clearly better than the baseline", "not clearly different"),
        (0.012, -0.074, 0.086, "Not clearly better than the baseline", "not clearly different"),
        (-0.012, None, None, "Not clearly better than the baseline", "whether that is chance cannot be told"),
        (-0.05, -0.086, -0.001, "Loses to the baseline", "clearly worse"),
        (0.05, 0.001, 0.086, "", "clearly better"),
    ],
)
def test_box_page_and_terminal_say_the_same_of_the_baseline(reported, tmp_path, value, low, high, title, verdict):
    summary = reported.folder.read_json("metrics.json")
    summary["baseline"]["difference"]["uar"] |= {"value": value, "low": low, "high": high, "p_adjusted": 0.04}
    found = caveats(reported, summary)
    assert [caveat.title for caveat in found if caveat.kind != "validated-elsewhere"] == [title] * bool(title)
    assert verdict in baseline_sentence(summary)
    summary["caveats"] = [caveat._asdict() for caveat in found]
    copied = Series(Folder(tmp_path), reported.experiment)
    copied.folder.write_json("metrics.json", summary)
    assert dict(summary_rows(copied)).get("caution", "") == title


@pytest.mark.parametrize(
    ("n_subjects", "p_adjusted", "verdict"),
    [
        (24, 0.04, "clearly better"),
        (24, 0.06, "a hint of a difference"),
        (5, 0.04, "5 subjects can show no difference: were it of one sign in all of them, p would still be 0.0625"),
    ],
)
def test_support_needs_the_interval_the_corrected_p_and_six_subjects(reported, n_subjects, p_adjusted, verdict):
    summary = reported.folder.read_json("metrics.json")
    difference = {"value": 0.05, "low": 0.001, "high": 0.09, "p_adjusted": p_adjusted, "n_subjects": n_subjects}
    summary["baseline"]["difference"]["uar"] |= difference
    assert verdict in baseline_sentence(summary)
    titles = [caveat.title for caveat in caveats(reported, summary)]
    assert ("Not clearly better than the baseline" in titles) == (verdict != "clearly better")


def test_a_clean_series_has_no_caveat_but_that_of_choosing(reported):
    assert set(kinds(reported)) == {"validated-elsewhere"}
    assert not summary_of(reported)["caveats"][0]["is_warning"]


def test_nobody_validates_in_another_fold_where_there_is_one_fold(tmp_path):
    series = series_directory(tmp_path, n_subjects=12, folds=3)
    for fold in (1, 2):
        series.run(0, fold).folder.remove()
    assert "validated-elsewhere" not in kinds(series)


def test_a_baseline_is_not_told_to_beat_itself(reported):
    assert set(kinds(reported.baseline)) == {"validated-elsewhere"}


def test_a_series_copied_without_its_baseline_is_reported_and_names_it(tmp_path, capsys):
    series = series_directory(tmp_path / "runs", n_subjects=12, folds=2, skill=2.0, baseline_skill=1.0)
    other = series_directory(tmp_path / "runs", name="other", n_subjects=12, folds=2)
    without_run_pages(series)
    alone = tmp_path / "solo" / "trial" / series.signature
    shutil.copytree(series.folder.uri, alone)
    assert main(["report", str(alone)]) == 0
    assert main(["compare", str(alone), other.folder.uri, "--out", str(tmp_path / "out")]) == 0
    copied = Series.open(str(alone))
    assert series.baseline is not None and copied.baseline is None
    assert copied.folder.read_json("metrics.json")["baseline"] is None
    found = kinds(copied)
    assert f"trial-svm/{series.baseline.signature}" in found["baseline-not-here"]
    assert "no-baseline" not in found
    assert "Its baseline is not here" in copied.folder.read_text("report.html")


def test_a_subject_on_both_sides_is_cried_out(tmp_path):
    series = series_directory(tmp_path, n_subjects=12, folds=3)
    run = series.run(0, 1)
    split = run.folder.read_json("split.json")
    split["train"]["subjects"].append(split["test"]["subjects"][0])
    run.folder.write_json("split.json", split)
    run.finish()
    assert "1 of the test subjects" in kinds(series)["leak"]


# ------------------------------------------------------------------ what is missing


def unfinished(run: Run) -> None:
    run.folder.remove("DONE")


def gone(run: Run) -> None:
    run.folder.remove()


def diverged(run: Run) -> None:
    table = run.predictions()
    column = table.column_names.index("p_fear")
    run.write_predictions(table.set_column(column, "p_fear", pa.array([float("nan")] * table.num_rows)))
    run.finish()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (unfinished, "stopped after epoch 6"),
        (gone, "not started"),
        (diverged, "not a number"),
    ],
)
def test_a_seed_that_lacks_a_fold_is_named_and_left_out(tmp_path, spoil, reason):
    series = series_directory(tmp_path, n_subjects=12, folds=3, seeds=(0, 1))
    whole = summary_of(series)
    spoil(series.run(1, 2))
    summary = summary_of(series)
    assert [(run["seed"], run["fold"]) for run in summary["incomplete"]] == [(1, 2)]
    assert reason in summary["incomplete"][0]["reason"]
    assert summary["seeds"] == [0]
    assert summary["test"]["uar"]["value"] == whole["test"]["uar"]["by_seed"]["0"]
    assert "seed 1 fold 2" in kinds(series)["incomplete"]
    assert "2 runs" in kinds(series)["unused"]


def test_a_half_finished_series_is_reported_as_that(tmp_path):
    series = series_directory(tmp_path, n_subjects=12, folds=3, absent_class="fear")
    unfinished(series.run(0, 2))
    without_run_pages(series)
    report(series)
    summary = series.folder.read_json("metrics.json")
    assert summary["n_folds"] == 2
    assert summary["n_clips"] + summary["n_clips_not_tested"] == series.data["n_clips"]
    page = series.folder.read_text("report.html")
    assert "Incomplete" in page
    assert "Not all clips are tested" in page
    assert not series.run(0, 2).folder.exists("report.html")


def test_one_subject_has_scores_but_no_interval(tmp_path, capsys):
    series = series_directory(
        tmp_path, n_subjects=1, clips_per_class=4, folds=2, protocol="random-leaky", baseline_skill=1.0
    )
    assert main(["report", without_run_pages(series).folder.uri]) == 0
    assert "[no interval]" in capsys.readouterr().out
    summary = series.folder.read_json("metrics.json")
    assert summary["test"]["uar"]["low"] is None
    assert summary["baseline"]["difference"]["uar"]["p_value"] is None
    assert "no interval" in series.folder.read_text("report.html")
    assert "NaN" not in series.folder.read_text("metrics.json")


def test_nothing_finished_is_an_error_with_the_remedy(tmp_path):
    series = series_directory(tmp_path, folds=2)
    for run in series.runs():
        unfinished(run)
    with pytest.raises(MienError, match=r"no finished run.*mien train .*experiment\.json"):
        report(series)


def test_a_folder_that_is_no_series_is_an_error_with_the_remedy(tmp_path):
    with pytest.raises(MienError, match="give the folder that `mien train` printed"):
        Series.open(str(tmp_path / "nowhere"))


def test_a_folder_of_several_series_names_them(tmp_path):
    signatures = [series_directory(tmp_path, folds=folds).signature for folds in (2, 3)]
    with pytest.raises(MienError, match="2 series are here") as refused:
        Series.open(str(tmp_path / "trial"))
    assert str(refused.value).endswith(f"add one of their signatures: {', '.join(sorted(signatures))}")
    search_directory(tmp_path / "searches", n_subjects=4, folds=2, n_trials=2, is_over=False)
    with pytest.raises(MienError, match="no runs here"):
        Series.open(str(tmp_path / "searches"))


def test_list_tells_protocols_and_synthetic_clips_apart(tmp_path, capsys):
    series_directory(tmp_path, name="clean", n_subjects=4, folds=2)
    series_directory(tmp_path, name="leaky", n_subjects=4, folds=2, protocol="random-leaky", synthetic=True)
    search_directory(tmp_path, n_subjects=4, folds=2, n_trials=2, is_over=False)
    assert main(["runs", "list", str(tmp_path), "--json"]) == 0
    found = {r["experiment"]: (r["protocol"], r["synthetic"]) for r in json.loads(capsys.readouterr().out)}
    assert found == {
        "clean": ("by-subject", False),
        "leaky": ("random-leaky", True),
        "search": ("by-subject", False),
    }
    assert main(["runs", "list", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"leaky/\w{8} .*\n  random-leaky, synthetic clips", "\n".join(lines))
    assert re.search(r"clean/\w{8} .*\n  by-subject +\d{4}-\d\d-\d\d ", "\n".join(lines))


def test_list_and_compare_name_what_tells_series_of_one_name_apart(tmp_path, capsys):
    """One that differs in a setting is named by it; a comparison of others is not overwritten."""
    one, other = (
        series_directory(
            tmp_path,
            name="same",
            n_subjects=6,
            folds=2,
            experiment=Experiment(name="same", loss=LossConfig(gamma=gamma)),
        )
        for gamma in (1.0, 2.0)
    )
    third = series_directory(tmp_path, name="third", n_subjects=6, folds=2)
    assert labels([one, third]) == ["same", "third"]
    assert labels([one, other, third]) == ["same: loss.gamma 1.0", "same: loss.gamma 2.0", "third"]
    report(one)
    assert main(["runs", "list", str(tmp_path), "--json"]) == 0
    listed = {r["signature"]: r for r in json.loads(capsys.readouterr().out)}
    assert listed[one.signature]["apart"] == "loss.gamma 1.0"
    assert listed[one.signature]["low"] < listed[one.signature]["score"] < listed[one.signature]["high"]
    assert listed[third.signature]["apart"] == ""
    out = str(tmp_path / "out")
    words = [one.folder.uri, other.folder.uri]
    for again in (words, words[::-1]):  # the same comparison may be made anew
        assert main(["compare", *again, "--out", out]) == 0
        assert "same: loss.gamma 1.0" in capsys.readouterr().out
    assert main(["compare", one.folder.uri, third.folder.uri, "--out", out]) == 2
    assert f"--out {out}: holds the comparison of {other.folder.uri}" in capsys.readouterr().err


def test_an_overview_links_every_report_of_a_storage_or_an_experiment(tmp_path, capsys, monkeypatch):
    place = tmp_path / "runs"
    for gamma in (1.0, 2.0):
        series_directory(
            place, name="same", n_subjects=6, folds=2, experiment=Experiment(name="same", loss=LossConfig(gamma=gamma))
        )
    begun = series_directory(place, name="begun", n_subjects=4, folds=2)
    for run in begun.runs():
        run.folder.remove("DONE")
    search_directory(place, n_subjects=4, folds=2, n_trials=3, is_over=False)
    for folder, n_links in ((place, 3), (place / "same", 2), (place, 3)):  # once more, with what it wrote in between
        assert main(["report", str(folder)]) == 0
        assert capsys.readouterr().out == f"overview: {folder}/overview.html\n"
        page = (folder / "overview.html").read_text()
        links = re.findall(r'href="([^"]+/report.html)"', page)
        assert len(links) == n_links and all((folder / link).is_file() for link in links)
    monkeypatch.chdir(place)
    assert main(["report", "same"]) == 0
    page = (place / "overview.html").read_text()
    assert begun.signature in page and "loss.gamma 2.0" in page
    assert main(["runs", "list", str(place)]) == 0


def test_predictions_of_other_classes_are_refused(tmp_path):
    series = series_directory(tmp_path, folds=2)
    run = series.run(0, 0)
    run.write_predictions(run.predictions().drop_columns(["p_fear"]))
    run.finish()
    with pytest.raises(MienError, match=r"lacks p_fear"):
        read_tested(series)


def test_a_clip_tested_in_two_folds_is_refused(tmp_path):
    series = series_directory(tmp_path, folds=2)
    series.run(0, 1).write_predictions(series.run(0, 0).predictions())
    series.run(0, 1).finish()
    with pytest.raises(MienError, match="tested in two folds"):
        read_tested(series)


def test_seeds_tested_on_different_clips_are_refused(tmp_path):
    series = series_directory(tmp_path, folds=2, seeds=(0, 1))
    run = series.run(1, 0)
    run.write_predictions(run.predictions()[:-1])
    run.finish()
    with pytest.raises(MienError, match="seeds 0 and 1 were tested on different clips"):
        read_tested(series)


# ------------------------------------------------------------------ files and pages


def test_all_artefacts_are_written(reported):
    names = set(reported.folder.names())
    assert names >= {
        "metrics.json",
        "predictions.parquet",
        "classification_report_test.json",
        "learning_curves.png",
        "confusion_matrix_test.png",
        "reliability.png",
        "risk_coverage.png",
        "report.html",
    }
    assert set(reported.run(0, 0).folder.names()) >= {
        "learning_curves.png",
        "confusion_matrix_test.png",
        "confusion_matrix_validation.png",
        "classification_report_test.json",
        "report.html",
    }
    for name in names:
        if name.endswith(".png"):
            assert reported.folder.read_bytes(name).startswith(b"\x89PNG")


def test_asked_again_it_writes_the_same_names_it_and_leaves_finished_runs_alone(reported):
    page, run_page = (
        reported.folder.read_bytes("report.html"),
        Path(reported.run(0, 0).folder.path("report.html")),
    )
    written_ns = run_page.stat().st_mtime_ns
    paths = report(reported)
    assert paths[0].endswith("report.html")
    assert {Path(path).name for path in paths} == set(reported.folder.names()) - {
        *("experiment.json", "data.json", "clips.parquet", "baseline.json", "seed-0", "seed-1")
    }
    assert reported.folder.read_bytes("report.html") == page
    assert run_page.stat().st_mtime_ns == written_ns


def pages(reported: Series, tmp_path: Path) -> dict[str, str]:
    other = series_directory(tmp_path, name="other", n_subjects=12, folds=3, protocol="random-leaky")
    compare([reported, other], tmp_path / "out")
    return {
        "report": reported.folder.read_text("report.html"),
        "run": reported.run(0, 0).folder.read_text("report.html"),
        "compare": (tmp_path / "out" / "compare.html").read_text(),
    }


def test_pages_fetch_nothing_and_describe_every_picture(reported, tmp_path):
    for name, text in pages(reported, tmp_path).items():
        page = Page(text)
        assert not [url for url in page.fetched if not url.startswith(("data:", "#"))], name
        assert not re.search(r"url\((?!['\"]?(#|data:))|@import", text), name
        assert "script" not in page.tags, name
        assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in text
        assert page.tags.count("svg") == len(page.pictures) > 0, name
        assert all(len(label) > 15 for label in page.pictures), name
        assert "None" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL), name
        assert ">nan<" not in text.lower(), name


def test_what_users_wrote_stays_text(reported):
    page = reported.folder.read_text("report.html")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_says_what_was_measured(reported):
    page = reported.folder.read_text("report.html")
    summary = reported.folder.read_json("metrics.json")
    headline = f'<span class="number">{summary["test"]["uar"]["value"]:.3f}</span>'
    assert headline in page
    for words in (
        "no person on both sides",
        "Labels intended",
        "144 clips of 12 subjects",
        "mean of 2 seeds",
        "support vector machine on the same features",
        "0123456789abcdef",
        "channel is song",
        "execution.seeds",
        f"mien report {reported.folder}",
        f"mien train {reported.folder}/experiment.json --store {Path.cwd()}/store --storage {reported.storage}\n",
    ):
        assert words in page, words


def test_do_it_again_holds_in_every_directory(tmp_path, monkeypatch):
    """Relative places are those of the training, or else of the reporting; a bucket stays as it is."""
    (tmp_path / "my runs").mkdir()
    monkeypatch.chdir(tmp_path / "my runs")
    series = series_directory("runs", n_subjects=4, folds=2, epochs=2)
    runs = tmp_path / "my runs" / "runs"
    again, anew = commands_again("train experiment.json", series, series.experiment.execution)
    assert shlex.split(again)[2:] == [
        *(f"{runs}/trial/{series.signature}/experiment.json", "--store", f"{tmp_path}/my runs/store"),
        *("--storage", str(runs)),
    ]
    assert shlex.split(anew)[2:] == [f"{runs}/trial/{series.signature}"]
    for store in ("/elsewhere/store", "s3://bucket/store"):
        series.folder.write_json("data.json", {**series.data, "store": store})
        assert f" --store {store} " in commands_again("train experiment.json", series, series.experiment.execution)[0]
    fingerprints = series.data["fingerprints"]
    elsewhere = replace(series.experiment, execution=replace(series.experiment.execution, store="/other", storage="/r"))
    assert elsewhere.signature(fingerprints) == series.experiment.signature(fingerprints) == series.signature


def test_a_training_notes_where_its_store_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = Experiment(name="trial")
    summary = {"corpora": {}, "features": {}, "fingerprints": {}, "n_clips": 0, "left_out": {}}
    read = SimpleNamespace(fingerprints={}, summary=lambda: summary, told=tiny.dataset(3).told)
    assert open_series(asked, read).data["store"] == f"{tmp_path}/store"
    bucket = replace(asked, execution=replace(asked.execution, store="s3://bucket/store"))
    assert open_series(bucket, read).data["store"] == "s3://bucket/store"
    assert read_clips(open_series(asked, read)).clip_ids.tolist() == ["c/000", "c/001", "c/002"]


def test_synthetic_data_and_random_weights_are_shown_in_every_report(tmp_path):
    series = series_directory(tmp_path, n_subjects=4, folds=2, epochs=1, synthetic=True, random_weights=True)
    series.run(0, 0).folder.write_text("report.html", "")  # one run's page will do
    report(series)
    for folder in (series.folder, series.run(0, 1).folder):
        page = folder.read_text("report.html")
        assert 'data-kind="synthetic"' in page
        assert 'data-kind="random-weights"' in page


def test_figures_take_the_colours_of_the_page():
    figure = figures_of_classes.confusion_matrix(np.array([[3, 1], [0, 0]]), ("anger", "fear"))
    assert figures.png(figure).startswith(b"\x89PNG")
    drawing = figures.svg(figure)
    assert drawing.startswith("<svg viewBox=")
    assert "var(--cell)" in drawing
    assert not re.search(r"#[0-9a-f]{6}", drawing)


def test_the_mean_curve_ends_where_the_first_run_stopped():
    curves = [np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0]), np.array([2.0, 3.0])]
    assert figures._mean_curve(curves).tolist() == [2.0, 3.0]


def test_a_terminal_gets_the_headline_first(reported):
    rows = summary_rows(reported)
    assert rows[0][1].startswith("trial ")
    assert rows[1][0] == "UAR"
    assert re.fullmatch(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", rows[1][1])
    assert dict(rows)["tested on"] == "144 clips of 12 subjects, 2 folds, mean of 2 seeds"
    assert dict(rows)["tested on"] in reported.folder.read_text("report.html")
    assert "caution" not in dict(rows)
    assert with_interval({"value": 0.5, "low": None, "high": None}) == "0.500 [no interval]"


def test_a_log_says_where_a_training_goes_on(tmp_path, capsys):
    """Once for each run that was begun before; a run begun now has nothing to say."""
    series = series_directory(tmp_path, n_subjects=4, folds=2)
    record = {"train_loss": 1.0, "score": 0.5, "score_name": "uar", "samples_per_s": 9.0}
    with training_events() as told:
        told.on_start(series, 2, 2)
        for fold, epochs in ((0, (8, 9, 1)), (1, (1, 2))):
            for epoch in epochs:
                told.on_epoch(series.run(0, fold), {**record, "epoch": epoch})
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "goes on" in line] == ["seed 0 fold 0: goes on at epoch 8"]


def test_a_terminal_gets_every_warning_and_needs_no_report(tmp_path):
    series = series_directory(tmp_path, n_subjects=4, folds=2, synthetic=True, protocol="random-leaky")
    rows = summary_rows(series)
    assert len(dict(rows)) == len(rows)
    assert dict(rows)["caution"] == "Inflated by its protocol; Synthetic data"


# ------------------------------------------------------------------ settings


def test_settings_that_differ_from_the_defaults_are_told_from_those_that_do_not():
    asked = Experiment(name="x", training=TrainingConfig(epochs=3))
    found = {setting.name: setting for setting in settings(asked)}
    assert (found["training.epochs"].value, found["training.epochs"].default) == (
        "3",
        str(TrainingConfig().epochs),
    )
    assert [name for name, setting in found.items() if not setting.is_default] == ["training.epochs"]


def test_only_what_is_learnt_counts_as_a_difference():
    one = Experiment(name="one")
    other = replace(one, name="two", execution=replace(one.execution, seeds=(1, 2)))
    assert differing([one, other]) == {}
    assert differing([one, replace(other, model=SvmConfig(c=3.0))]) == {"model.family": ["lstm_attention", "svm"]}
    fewer = replace(other, data=replace(other.data, features=("egemaps",)))
    assert differing([one, fewer]) == {"data.features": ["egemaps, facenet", "egemaps"]}


# ------------------------------------------------------------------ comparison


def test_the_leakage_gap_is_stated_where_only_the_protocol_differs(tmp_path):
    clean = series_directory(tmp_path, name="clean", n_subjects=12, folds=3, skill=1.0)
    leaky = series_directory(tmp_path, name="leaky", n_subjects=12, folds=3, skill=2.0, protocol="random-leaky")
    voice = series_directory(
        tmp_path, name="voice", n_subjects=12, folds=3, protocol="random-leaky", features=("egemaps",)
    )
    compare([leaky, clean, voice], tmp_path / "out")
    result = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [(gap["grouped"], gap["random"]) for gap in result["leakage"]] == [("clean", "leaky")]
    assert result["leakage"][0]["score_name"] == "uar"
    gap = result["leakage"][0]["difference"]
    scores = {one["label"]: one["test"]["uar"]["value"] for one in result["series"]}
    assert gap["value"] == pytest.approx(scores["leaky"] - scores["clean"])
    assert 0 < gap["low"] < gap["value"] < gap["high"]
    assert html.escape(result["leakage"][0]["sentence"]) in (tmp_path / "out" / "compare.html").read_text()
    assert result["settings"] == {
        "data.features": ["egemaps, facenet", "egemaps, facenet", "egemaps"],
        "protocol.kind": ["random-leaky", "by-subject", "random-leaky"],
    }
    assert (tmp_path / "out" / "compare.png").stat().st_size > 0


@pytest.mark.parametrize("differs", ["model", "loss", "training", "features", "rows of the store"])
def test_no_leakage_gap_is_claimed_between_different_models(tmp_path, differs):
    """The two differ in more than the protocol: what separates them is no gap."""
    plain = Experiment(name="other")
    changes = {
        "model": {"model": replace(plain.model, dropout=0.1)},
        "loss": {"loss": LossConfig(gamma=0.0)},
        "training": {"training": TrainingConfig(learning_rate=0.1)},
    }
    other = replace(plain, **changes.get(differs, {}))
    features = {"features": ("egemaps",)} if differs == "features" else {}
    clean = series_directory(tmp_path, name="clean", n_subjects=6, folds=2, skill=1.0)
    leaky = series_directory(
        tmp_path, name="leaky", n_subjects=6, folds=2, skill=2.0, protocol="random-leaky", experiment=other, **features
    )
    if differs == "rows of the store":
        leaky.folder.write_json("data.json", {**leaky.data, "fingerprints": {"ravdess/egemaps": "f" * 16}})
    compare([clean, leaky], tmp_path / "out")
    result = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert result["series"][1]["difference"]["uar"]["value"] > 0
    assert result["leakage"] == []


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (0.15, 0.1, 0.2, "This leakage gap is what knowing the test speakers is worth"),
        (-0.005, -0.112, 0.095, "these data show no leakage gap; one of more than 0.095 is unlikely"),
        (0.0, 0.0, 0.0, "these data show no leakage gap; one of more than 0.000"),
        (-0.15, -0.2, -0.1, "no leakage gap: the split at random scored worse"),
        (0.15, None, None, "There is no interval, so whether that is a leakage gap cannot be told"),
    ],
)
def test_a_gap_is_claimed_only_where_it_was_found(value, low, high, words):
    difference = {"value": value, "low": low, "high": high, "p_adjusted": 0.01, "n_subjects": 12}
    said = gap_sentence("clean", "leaky", "subject", "uar", difference, 144)
    assert words in said
    assert ("on new people it is lost" in said) == (low is not None and low > 0)


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (-0.05, -0.08, -0.02, "is what knowing the test stimulus groups is worth: on new ones it is lost"),
        (0.05, 0.02, 0.08, "the split at random scored worse"),
        (-0.01, -0.03, 0.02, "one of more than 0.030 is unlikely"),
    ],
)
def test_a_gap_of_an_error_is_one_where_it_falls(value, low, high, words):
    difference = {"value": value, "low": low, "high": high, "p_adjusted": 0.01, "n_subjects": 12}
    said = gap_sentence("clean", "leaky", "stimulus", "rmse", difference, 144)
    assert words in said
    assert f"instead of by stimulus (clean) changes RMSE by {'−' if value < 0 else '+'}" in said


def test_p_values_of_a_comparison_are_adjusted_for_all_of_its_pairs(tmp_path):
    """Holm written out for three series and three metrics, one family of nine: the smallest times 9, the next times 8,
    and none smaller than the one before."""
    first, *others = (
        series_directory(tmp_path, name=f"skill-{number}", n_subjects=12, folds=2, skill=skill)
        for number, skill in enumerate((1.5, 1.6, 2.1, 1.3))
    )
    compare([first, *others], tmp_path / "out")
    found = json.loads((tmp_path / "out" / "compare.json").read_text())["series"][1:]
    tests = [one["difference"][metric] for one in found for metric in ("uar", "wa", "macro_f1")]
    pairs = sorted((one["p_value"], one["p_adjusted"]) for one in tests)
    raw = [p for p, _ in pairs]
    assert raw[0] < 0.1, "no test where all are capped at 1"
    expected = np.maximum.accumulate(np.minimum(1, np.array(raw) * np.arange(9, 0, -1)))
    assert [adjusted for _, adjusted in pairs] == pytest.approx(expected)
    assert pairs[0][1] > pairs[0][0]
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "corrected for all 9 tests of this comparison" in page
    assert page.count("Holm p") == 9


def test_a_gap_has_the_p_that_it_has_in_the_table_or_is_a_test_more(tmp_path):
    options = {"n_subjects": 12, "folds": 3}
    clean = series_directory(tmp_path, name="clean", skill=1.0, **options)
    leaky = series_directory(tmp_path, name="leaky", skill=1.4, protocol="random-leaky", **options)
    other = series_directory(tmp_path, name="other", skill=1.2, features=("egemaps",), **options)
    for series, n_tests in (([clean, leaky, other], 6), ([other, clean, leaky], 7)):
        compare(series, tmp_path / "out")
        result = json.loads((tmp_path / "out" / "compare.json").read_text())
        assert result["n_tests"] == n_tests
        gap = result["leakage"][0]["difference"]
        if n_tests == 6:
            assert gap["p_adjusted"] == result["series"][1]["difference"]["uar"]["p_adjusted"]
        assert gap["p_adjusted"] >= gap["p_value"]
        assert f"corrected {p_value(gap['p_adjusted'])}" in result["leakage"][0]["sentence"]


def test_figures_of_speaker_normalised_series_say_so_wherever_they_stand(tmp_path, capsys):
    options = {"n_subjects": 12, "folds": 2}
    plain = series_directory(tmp_path, name="plain", **options)
    series = series_directory(tmp_path, name="speaker", normalise="speaker", **options)
    report(series)
    head, _, _ = series.folder.read_text("report.html").partition("</header>")
    assert "one seed, normalised per test speaker (transductive)" in head
    assert 'class="warning" data-kind="speaker-normalised"' in head
    rows = dict(summary_rows(series))
    assert "transductive" in rows["tested on"] and "transductive" in rows["caution"]
    assert main(["compare", plain.folder.uri, series.folder.uri, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "speaker: normalised per test speaker (transductive), not to be compared" in said
    assert "plain: normalised" not in said
    page = (tmp_path / "out" / "compare.html").read_text()
    scores, _, differences = page.partition("<h2>Differences")
    assert scores.count("<small>normalised per test speaker (transductive)</small>") == 1
    assert "only one of the two is normalised per test speaker" in differences


def test_the_first_screen_names_corpus_classes_and_features(tmp_path):
    series = series_directory(tmp_path, n_subjects=4, folds=2)
    data = series.data | {"merged": {"calm": 8}, "left_out": {"surprise is not among the classes": 16}}
    series.folder.write_json("data.json", data)
    report(series)
    head, _, _ = series.folder.read_text("report.html").partition("</header>")
    for words in (
        "Corpus: ravdess (48 clips). 6 classes of 8 emotions: anger, disgust, fear, happiness, neutral, sadness. ",
        "calm (8 clips) counted as neutral. 16 clips left out (surprise is not among the classes). ",
        "Features: egemaps, facenet.",
    ):
        assert words in head, words


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (0.04, 0.01, 0.07, "Over-confident: on average its confidence is 0.040 above its accuracy"),
        (-0.04, -0.07, -0.01, "Under-confident: on average its confidence is 0.040 below its accuracy"),
        (-0.01, -0.07, 0.05, "Neither over- nor under-confident"),
        (0.04, None, None, "no interval"),
    ],
)
def test_reliability_says_which_way_it_errs(value, low, high, words):
    assert words in sureness({"value": value, "low": low, "high": high})


def test_folds_are_drawn_on_the_whole_scale(reported):
    strip = fold_strip({"fold 0": [0.80], "fold 1": [0.82]}, 0.81, 1 / 6, "UAR", (0.0, 1.0))
    assert strip.axes[0].get_xlim() == (0.0, 1.0)
    assert {line.get_color() for line in strip.axes[0].lines} == {BLUE, MUTED}, "orange is the baseline"


def test_series_that_share_only_some_clips_are_compared_on_those(tmp_path):
    large = series_directory(tmp_path / "a", n_subjects=12, folds=3)
    small = series_directory(tmp_path / "b", n_subjects=6, folds=3, skill=3.0)
    compare([large, small], tmp_path / "out")
    first, second = json.loads((tmp_path / "out" / "compare.json").read_text())["series"]
    assert first["difference"] is None
    assert second["difference"]["n_shared_clips"] == 72
    assert second["difference"]["n_clips_of_one_only"] == 72
    assert second["difference"]["uar"]["low"] > 0
    assert second["label"] == f"trial {small.signature}"


def test_what_cannot_be_compared_says_why(tmp_path):
    six = series_directory(tmp_path, name="six", folds=2)
    eight = series_directory(tmp_path, name="eight", folds=2, target=ClassesConfig(vocabulary="ravdess8"))
    elsewhere = series_directory(tmp_path, name="elsewhere", folds=2, corpora=("cremad",))
    perceived = series_directory(tmp_path, name="perceived", folds=2, target=ClassesConfig(source="perceived-voice"))
    for run in perceived.runs():
        table = run.predictions()
        column = table.column_names.index("truth")
        run.write_predictions(table.set_column(column, "truth", pc.subtract(5, table["truth"])))
        run.finish()
    compare([six, eight, elsewhere, perceived], tmp_path / "out")
    found = json.loads((tmp_path / "out" / "compare.json").read_text())["series"][1:]
    reasons = [one["difference"]["reason"] for one in found]
    assert "other classes" in reasons[0]
    assert "none of the first one's clips" in reasons[1]
    assert "96 of the shared clips have another label" in reasons[2]
    page = (tmp_path / "out" / "compare.html").read_text()
    assert page.count("Not compared:") == 3


def test_a_terminal_gets_differences_gaps_and_reasons(tmp_path, capsys):
    clean = series_directory(tmp_path, name="clean", n_subjects=12, folds=3, skill=1.0)
    leaky = series_directory(tmp_path, name="leaky", n_subjects=12, folds=3, skill=2.0, protocol="random-leaky")
    same = series_directory(tmp_path, name="same", n_subjects=12, folds=3, skill=1.02)
    elsewhere = series_directory(tmp_path, name="elsewhere", folds=2, corpora=("cremad",))
    out = tmp_path / "out"
    words = ["compare", *(one.folder.uri for one in (clean, leaky, same, elsewhere)), "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    result = json.loads((out / "compare.json").read_text())
    found = result["series"][2]["difference"]["uar"]
    words = f"{with_interval(found, signed=True)}, {p_value(found['p_value'])} (Holm {p_value(found['p_adjusted'])}); "
    assert f"same less clean, 144 shared clips: UAR {words}Accuracy (WA) " in said
    assert "p corrected for all 7 tests of this comparison" in said, "two series, three metrics; same against leaky"
    assert said.count("(Holm p") == 6
    assert "leaky less clean, 144 shared clips: UAR +0." in said
    assert "elsewhere is not compared with clean: it was tested on none of the first one's clips" in said
    assert result["leakage"][0]["sentence"] in said


def test_a_comparison_takes_two_different_series(reported, tmp_path):
    with pytest.raises(MienError, match="two series or more"):
        compare([reported], tmp_path)
    with pytest.raises(MienError, match="given twice"):
        compare([reported, reported], tmp_path)


def test_a_report_imports_neither_pandas_nor_datasets(tmp_path):
    """They take half a second of CPU, and are for readers of the files."""
    series = series_directory(tmp_path, n_subjects=4, folds=2, epochs=2)
    uri = without_run_pages(series).folder.uri
    code = (
        f"import sys; from mien.cli.main import main; assert main(['report', {uri!r}]) == 0; "
        "assert not {'pandas', 'pyarrow.dataset', 'pyarrow.compute', 'scipy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "platform")}, check=True)


def test_p_values_are_adjusted_after_holm():
    found = holm([0.01, 0.04, 0.03, float("nan")])
    assert found == pytest.approx([0.03, 0.06, 0.06, float("nan")], nan_ok=True)


def test_data_of_an_older_mien_are_named(tmp_path):
    series = series_directory(tmp_path, n_subjects=4, folds=2)
    series.folder.write_json("data.json", {key: value for key, value in series.data.items() if key != "target"})
    with pytest.raises(MienError, match=r"data\.json: names no target, so an older mien wrote it"):
        report(series)
