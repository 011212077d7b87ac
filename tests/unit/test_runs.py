"""Run directories: whole or absent, torn checkpoints passed over, DONE last."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mien.errors import MienError
from mien.experiment import Experiment
from mien.folder import Folder
from mien.results.run import Checkpoint, Run, Series


def run_in(path: Path) -> Run:
    return Run(Folder(path), seed=0, fold=1)


def checkpoint(epoch: int) -> Checkpoint:
    return Checkpoint(epoch, {"weights": bytes([epoch]) * 1000, "more": b"x"}, {"history": history(epoch)})


def history(n_epochs: int) -> list[dict[str, Any]]:
    rest = {"score": 0.5, "score_name": "uar", "validation_loss": None, "train_loss": 1.0, "seconds": 0.1}
    return [{"epoch": epoch, **rest} for epoch in range(1, n_epochs + 1)]


def test_checkpoint_comes_back_as_it_was(tmp_path):
    run = run_in(tmp_path)
    assert run.latest_checkpoint() is None
    run.save_checkpoint(checkpoint(3), best_epoch=3)
    assert run.latest_checkpoint() == checkpoint(3)


def test_keeps_the_newest_two_and_the_best(tmp_path):
    run = run_in(tmp_path)
    for epoch in range(1, 7):
        run.save_checkpoint(checkpoint(epoch), best_epoch=min(epoch, 2))
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "epoch-0002",
        "epoch-0005",
        "epoch-0006",
    ]


@pytest.mark.parametrize("tear", ["truncate", "flip", "drop a file", "drop the manifest", "half a manifest"])
def test_a_torn_checkpoint_is_passed_over(tmp_path, tear):
    run = run_in(tmp_path)
    for epoch in (1, 2):
        run.save_checkpoint(checkpoint(epoch), best_epoch=1)
    newest = tmp_path / "checkpoints" / "epoch-0002"
    if tear == "truncate":
        (newest / "weights").write_bytes((newest / "weights").read_bytes()[:500])
    elif tear == "flip":
        (newest / "weights").write_bytes(b"\xff" + (newest / "weights").read_bytes()[1:])
    elif tear == "drop a file":
        (newest / "more").unlink()
    elif tear == "drop the manifest":
        (newest / "MANIFEST.json").unlink()
    else:
        (newest / "MANIFEST.json").write_text('{"epoch": 2, "fil')
    assert run.latest_checkpoint() == checkpoint(1)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    folder.write_text("a.json", "old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.write_text("a.json", "new")
    assert folder.read_text("a.json") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_file_that_is_being_written_is_locked(tmp_path, monkeypatch):
    """So that nobody sweeps it away, however long the disk takes."""
    folder = Folder(tmp_path)

    def slow(fd: int) -> None:
        (temporary,) = tmp_path.glob(".a.json.*")
        os.utime(temporary, (0, 0))
        folder.sweep()
        assert temporary.exists()

    monkeypatch.setattr(os, "fsync", slow)
    folder.write_text("a.json", "whole")
    assert folder.read_text("a.json") == "whole"


def test_history_is_replaced_and_never_doubled(tmp_path):
    run = run_in(tmp_path)
    assert run.history() == []
    run.write_history(history(1))
    run.write_history(history(2))
    assert run.history() == history(2)


def test_series_opens_from_itself_a_run_or_its_experiment(tmp_path):
    from mien.experiment import ExecutionConfig

    experiment = Experiment(name="tiny", execution=ExecutionConfig(storage=str(tmp_path)))
    series = Series.create(experiment, "0123abcd")
    series.folder.write_json("data.json", {})
    run = series.run(2, 3)
    run.finish()
    assert run.is_done
    assert [(r.seed, r.fold) for r in series.runs()] == [(2, 3)]
    for uri in (series.folder.uri, run.folder.uri, str(tmp_path / "tiny")):
        assert Series.open(uri) == series
    assert series.baseline is None
    with pytest.raises(MienError, match="no runs here"):
        Series.open(str(tmp_path / "elsewhere"))
