"""Mistakes on a command line: one line each, with the offender and the remedy, and exit code 2."""

from __future__ import annotations

import pytest

from conftest import ROOT
from mien.cli.main import main

SYNC_AUG = str(ROOT / "experiments" / "sync_aug.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("trian x", "trian: no such command, did you mean train?; see mien --help"),
        ("xyz", "xyz: no such command; see mien --help"),
        ("store verfy x", "store verfy: no such command, did you mean verify?; see mien store --help"),
        ("cluster nonsense", "cluster nonsense: no such command; see mien cluster --help"),
        ("train", "give SCRIPT (a script of experiments/, or the experiment.json of an earlier run); see mien train"),
        (
            "prepare ravdess",
            "give ROOT (folder of the download or table of clips, or s3://bucket/prefix); see mien prepare --help",
        ),
        (f"train {SYNC_AUG} --trainig.epochs 3", "no option --trainig.epochs, did you mean --training.epochs?"),
        (f"train {SYNC_AUG} --zzzz", "no option --zzzz; see mien train --help"),
        (f"train {SYNC_AUG} more", "more: one word too many"),
        (f"train {SYNC_AUG} --augment.kind odd", "--augment.kind odd: choose from none, audio, sync, independent"),
        (f"train {SYNC_AUG} --training.epochs", "--training.epochs: give a value"),
        (f"train {SYNC_AUG} --training.epochs x", "--training.epochs: 'x' is no whole number"),
        (f"train {SYNC_AUG} --loss.gamma x", "--loss.gamma: 'x' is no number"),
        (f"train {SYNC_AUG} --training.epochs 0", "--training.epochs is 0: at least 1"),
        (f"train {SYNC_AUG} --workers -1", "--workers is -1: at least 0"),
        (f"train {SYNC_AUG} --protocol.kind official --protocol.official x", "x: no published list (emobox-ravdess"),
        ("corpora --jsn", "no option --jsn, did you mean --json?; see mien corpora --help"),
    ],
)
def test_a_mistake_is_told_in_one_line(capsys, words, told):
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("mien: ") and said.count("\n") == 1, said
    assert told in said
