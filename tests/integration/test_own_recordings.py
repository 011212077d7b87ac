"""Recordings of one's own, from the table to the report: their classes, their split, and people who are not known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import ROOT
from mien.cli.main import main
from mien.corpora.sample.write import write_sample

pytestmark = pytest.mark.slow


def say(*words: str) -> None:
    assert main(words) == 0


def trained(place: Path, *words: str) -> Path:
    """The folder of the series that was trained."""
    say(
        *("train", str(ROOT / "experiments/svc_baselines.py"), "--store", str(place / "store")),
        *("--storage", str(place / "runs"), "--data.features", "egemaps-clip", "--model.members"),
        *("--target.source", "annotated", "--no-baseline", "--quiet", *words),
    )
    return max((place / "runs" / "svc-baselines").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def test_a_table_becomes_a_report_by_its_own_classes_and_split(tmp_path: Path) -> None:
    root = write_sample(tmp_path, ["table"], n_subjects=6, n_per_emotion=1)["table"]
    words = ("table", str(root / "clips.csv"), "--table.name", "mine", "--table.map", "anger=cross", "neutral=flat")
    store = ("--store", str(tmp_path / "store"), "--features", "egemaps-clip", "--engine", "processes", "--quiet")
    say("prepare", *words, *store)
    assert (tmp_path / "store" / "mine" / "clips.parquet").exists()
    series = trained(
        tmp_path,
        *(
            "--data.corpora",
            "mine",
            "--protocol.kind",
            "official",
            "--target.vocabulary",
            "cross,flat,happiness,sadness",
        ),
    )
    data = json.loads((series / "data.json").read_text())
    assert data["target"]["names"] == ["cross", "flat", "happiness", "sadness"]
    assert data["left_out"] == {"no annotated label": 1}  # the annotators of one clip have no majority
    split = json.loads((series / "seed-0" / "fold-0" / "split.json").read_text())
    assert split["test"]["subjects"] == ["mine/Carla", "mine/Femi"]
    assert split["validation"]["subjects"] == ["mine/Ben", "mine/Elif"]
    metrics = json.loads((series / "metrics.json").read_text())
    assert metrics["official"] == ["the split of the corpus itself"]
    assert "unknown-subjects" not in [caveat["kind"] for caveat in metrics["caveats"]]
    assert (
        "official folds (the split of the corpus itself): no person on both sides"
        in (series / "report.html").read_text()
    )


def test_people_who_are_not_known_are_no_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_sample(tmp_path, ["table"], n_subjects=3, n_per_emotion=2)["table"]
    store = ("--store", str(tmp_path / "store"), "--features", "egemaps-clip", "--engine", "processes")
    (root / "bare.csv").write_text(
        "file,emotion,split\n"
        + "".join(
            f"{path.relative_to(root)},{'odd' if number % 2 else 'even'},{('train', 'dev', 'test')[number // 2 % 3]}\n"
            for number, path in enumerate(sorted(root.rglob("*.wav")))
        )
    )
    say("prepare", "table", str(root / "bare.csv"), "--table.name", "bare", *store)
    assert "bare: nothing says who is in which clip" in " ".join(capsys.readouterr().err.split())
    own = ("--data.corpora", "bare", "--target.vocabulary", "even,odd")
    series = trained(tmp_path, *own, "--protocol.kind", "official")
    metrics = json.loads((series / "metrics.json").read_text())
    kinds = {caveat["kind"] for caveat in metrics["caveats"]}
    assert {"unknown-subjects", "one-subject"} <= kinds
    assert "leak" not in kinds
    page = (series / "report.html").read_text()
    assert "Who is in which clip is not known" in page
    assert "no person on both sides" not in page
    capsys.readouterr()
    script = str(ROOT / "experiments/svc_baselines.py")
    words = ("train", script, "--store", str(tmp_path / "store"), "--data.features", "egemaps-clip", "--model.members")
    assert main([*words, "--target.source", "annotated", *own]) == 2
    assert "who is in which clip is not known" in capsys.readouterr().err
    assert main([*words, "--target.source", "annotated", "--data.corpora", "bare"]) == 2
    assert "make its words the classes (target.vocabulary even,odd)" in capsys.readouterr().err
