"""The report of a series whose runs were asked under conditions: right numbers, whole pages, fair words."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from factories import series_directory
from mien.experiment import (
    AffectEnsembleConfig,
    AvTransformerConfig,
    DimensionsConfig,
    Experiment,
    LstmAttentionConfig,
)
from mien.results import uncertainty
from mien.results.conditions import Condition, read_conditions
from mien.results.json_values import Json
from mien.results.metrics import METRICS, score
from mien.results.modalities import right, shapley
from mien.results.report import modalities, report
from mien.results.report.conditions import read_as_tested
from mien.results.report.tested import read_tested
from mien.results.run import Series
from reading import Page

FIGURES = ("modality_subsets", "modality_shares", "modalities_missing", "noise", "risk_by_uncertainty")
TITLES = ("What each modality is worth", "Noise and missing inputs", "Uncertainty")


@pytest.fixture(scope="module", params=["classes", "dimensions"])
def series(request, tmp_path_factory) -> Series:
    """Two seeds of two folds of eight people."""
    target = DimensionsConfig() if request.param == "dimensions" else None
    found = series_directory(
        tmp_path_factory.mktemp("runs"), folds=2, seeds=(0, 1), target=target, unrated=0.1, conditions=True
    )
    for run in found.runs():
        run.folder.write_text("report.html", "")
    return found


@pytest.fixture(scope="module")
def reported(series) -> tuple[Series, Json]:
    report(series)
    return series, series.folder.read_json("metrics.json")


@pytest.mark.slow
def test_subsets_are_scored_like_the_headline(reported):
    series, summary = reported
    tested, primary = read_tested(series), METRICS[series.target.kind][series.target.primary]
    found = {tuple(row["seen"]): row["score"] for row in summary["modalities"]["subsets"]}
    assert list(found) == [(), ("audio",), ("video",), ("audio", "video")]
    assert found["audio", "video"]["value"] == summary["test"][series.target.primary]["value"]
    truth, values = [], []
    for seed in (0, 1):
        for fold in (0, 1):
            clip_ids, asked = read_conditions(series.run(seed, fold), series.target) or ([], {})
            where = np.searchsorted(tested.clip_ids, clip_ids)
            truth.append(tested.truth[where])
            values.append(asked[Condition(hidden=("video",))].values)
    assert found["audio",]["value"] == pytest.approx(score(primary, np.concatenate(truth), np.concatenate(values)))
    assert found["audio",]["low"] < found["audio",]["value"] < found["audio",]["high"]
    shares = shapley({frozenset(seen): one["value"] for seen, one in found.items()})
    for name, one in summary["modalities"]["shapley"].items():
        assert one["value"] == pytest.approx(shares[name])
        assert one["low"] is None or one["low"] < one["value"] < one["high"]
    assert [row["level"] for row in summary["noise"]] == [0, 0.5, 2]


@pytest.mark.slow
def test_uncertainty_is_that_of_the_seeds_and_of_the_draws(reported):
    series, summary = reported
    tested = read_tested(series)
    found = summary["uncertainty"]
    by_clip = series.folder.read_table("uncertainty.parquet").to_pandas()
    of_seeds = by_clip[by_clip["source"] == "seeds"].set_index("clip_id").loc[tested.clip_ids]
    if series.target.kind == "classes":
        assert list(found) == ["single", "dropout", "seeds"]
        mean = tested.values.mean(axis=0)
        total = uncertainty.entropy(mean)
        kinds = found["seeds"]["kinds"]
        assert kinds["total"]["mean"] == pytest.approx(total.mean())
        assert kinds["aleatoric"]["mean"] == pytest.approx(uncertainty.entropy(tested.values).mean())
        assert kinds["total"]["auroc"]["value"] == pytest.approx(uncertainty.auroc(total, ~right(tested.truth, mean)))
        draws = found["dropout"]["kinds"]
        assert draws["aleatoric"]["mean"] == pytest.approx(0.8 * draws["total"]["mean"], rel=1e-6)
        np.testing.assert_allclose(of_seeds["total"], total)
    else:
        assert list(found) == ["dropout", "seeds"], "one model does not say how sure it is of a dimension"
        for k, name in enumerate(("valence", "arousal")):
            row = found["seeds"]["per_dimension"][name]
            between = tested.values[:, :, k].var(axis=0)
            assert row["epistemic_sd"] == pytest.approx(np.sqrt(between.mean()))
            assert 0 < row["within_95"] <= 1
            np.testing.assert_allclose(of_seeds[f"epistemic_{name}"], between)


@pytest.mark.slow
def test_the_page_shows_all_of_it_and_each_figure_is_a_pdf_as_well(reported):
    series, _ = reported
    text = series.folder.read_text("report.html")
    page = Page(text)
    assert all(f"<h2>{title}</h2>" in text for title in TITLES)
    assert page.tags.count("svg") == len(page.pictures)
    assert all(len(label) > 15 for label in page.pictures)
    assert all(address == "data:," or address.startswith("#") for address in page.fetched)
    assert ">nan<" not in text.lower() and "None" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL)
    for name in FIGURES:
        assert series.folder.read_bytes(f"{name}.png").startswith(b"\x89PNG")
        data = series.folder.read_bytes(f"{name}.pdf")
        assert data.startswith(b"%PDF") and b"/FontFile2" in data and b"/Subtype /Image" not in data
        assert b"CreationDate" not in data, "the same figure, the same bytes"


@pytest.mark.slow
def test_runs_of_an_older_mien_are_reported_without_it(tmp_path):
    series = series_directory(tmp_path, folds=2)
    for run in series.runs():
        run.folder.write_text("report.html", "")
    report(series)
    text, summary = series.folder.read_text("report.html"), series.folder.read_json("metrics.json")
    assert not any(f"<h2>{title}</h2>" in text for title in TITLES)
    assert summary["modalities"] is summary["noise"] is summary["uncertainty"] is None
    assert not {f"{name}.png" for name in FIGURES} & set(series.folder.names())


def test_where_one_run_was_not_asked_nothing_is_said(tmp_path):
    series = series_directory(tmp_path, folds=2, conditions=True)
    tested = read_tested(series)
    assert read_as_tested(series, tested)
    other = series_directory(tmp_path / "other", folds=2)
    run, without = series.run(0, 1).folder, other.run(0, 1).folder
    run.write_bytes("DONE", without.read_bytes("DONE"))
    for name in without.files():
        if name != "DONE":
            run.write_bytes(name, without.read_bytes(name))
    run.remove("conditions.parquet")
    assert read_as_tested(series, tested) == {}


@pytest.mark.parametrize(
    ("asked", "title", "is_warning"),
    [
        ({"model": AvTransformerConfig(modality_dropout=0.25)}, "Subsets by masks", False),
        ({"model": AvTransformerConfig(modality_dropout=0.0)}, "Not a fair comparison", True),
        ({"model": AffectEnsembleConfig(fusion="early")}, "Not a fair comparison", True),
        ({"model": LstmAttentionConfig()}, "Not a fair comparison", True),
        ({"model": AffectEnsembleConfig(fusion="late"), "parents": ("a/1", "b/2")}, "Subsets by parents", False),
    ],
)
def test_it_is_said_how_modalities_were_hidden_and_whether_that_is_fair(asked, title, is_warning, tmp_path):
    experiment = Experiment(name="x", **asked)
    if experiment.parents:
        experiment = replace(experiment, data=replace(experiment.data, features=()))
    series = series_directory(tmp_path, folds=2, conditions=True)
    tested = read_tested(series)
    found = modalities.summary(experiment, tested, read_as_tested(series, tested))
    (caveat,) = modalities.page_values(found, "classes", "UAR")["modality_caveats"]
    assert caveat["title"].startswith(title)
    assert caveat["is_warning"] is is_warning
    if "0.25" in str(asked):
        assert "model.modality_dropout is 0.25" in caveat["text"]
