"""What `mien bench train` is given and counts; what it times is for docs/benchmarks.md, and nothing here is timed."""

from __future__ import annotations

import numpy as np
import pytest

from mien.bench.clips import FAMILIES, N_SUBJECTS, clips_for
from mien.cli.main import main
from mien.data.feed import Feed
from mien.families import FAMILIES as ALL
from mien.training.refusals import check_launch


def test_each_family_that_is_trained_in_steps_can_be_measured():
    assert set(FAMILIES) == {name for name, family in ALL.items() if family.is_iterative}


@pytest.mark.parametrize("family", FAMILIES)
def test_clips_of_noise_are_what_a_family_reads(family):
    experiment, data = clips_for(family, 20)
    assert experiment.model.family == family
    splits = data.splits(experiment.protocol)
    check_launch(experiment, data, splits)
    assert len(set(data.subjects)) == N_SUBJECTS
    batch = next(Feed(experiment, data, splits[0].train, 0).training(1))
    for name, n_frames in FAMILIES[family].frames.items():
        n_seen = experiment.data.pictures or n_frames
        assert 0.8 * n_seen <= batch.masks[name].sum(axis=1)[batch.rows >= 0].min()
        assert batch.masks[name].sum(axis=1).max() <= 1.2 * n_seen + 1
        seen = batch.values[name][batch.masks[name]]
        assert seen.std() > (0.5 if data.specs[name].is_numeric else 50), "noise, decoded"
    assert not np.array_equal(clips_for(family, 20, seed=1)[1].columns[name][0].values, data.columns[name][0].values)


@pytest.mark.torch
def test_both_train_the_same_clips_as_often(monkeypatch: pytest.MonkeyPatch):
    """The plain loop calls for an epoch of mien before each of its own, and the first of each is left out."""
    from mien.bench import plain_torch, train

    experiment, data = clips_for("mlp", 100)
    given = []
    plain = plain_torch.train
    monkeypatch.setattr(plain_torch, "train", lambda *arguments: (given.append(arguments), plain(*arguments))[1])
    timing = train.training(experiment, data, n_rounds=2)
    assert (timing.framework, timing.n_clips) == ("torch", 80)
    assert (
        len(timing.mien_s)
        == len(timing.plain_s)
        == len(timing.waited_s)
        == len(timing.mien_cpu_s)
        == len(timing.plain_cpu_s)
        == 2
    )
    [(_, batches, n_rounds, *_)] = given
    rows = np.concatenate([batch.rows for batch in batches])
    assert n_rounds == 2
    assert sorted(rows) == [row for row, subject in enumerate(data.subjects) if subject not in ("bench/0", "bench/1")]
    assert timing.checkpoint_bytes > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "give a SCRIPT, or --family with one of lstm_attention, mlp"),
        ("x.py --family mlp", "give a SCRIPT, or --family"),
        ("--family mpl", "--family mpl: the nearest is mlp"),
        ("--family svm", "--family svm: choose from"),
        ("--family mlp --clips 5", "--clips 5: give at least 100"),
    ],
)
def test_what_cannot_be_measured_is_told(capsys, words, told):
    assert main(["bench", "train", *words.split()]) == 2
    assert told in capsys.readouterr().err
