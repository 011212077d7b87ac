"""Media broken at random, by a seed. `make soak` breaks many more, and files of sensors and tables."""

from __future__ import annotations

import itertools
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from breaking import assert_only_the_broken_suffer, extracted
from mien.corpora.sample.write import write_sample
from mien.features.extractors.openface import ACTION_UNITS
from mien.features.store import FeatureTable

pytestmark = [pytest.mark.fault, pytest.mark.slow]

N_FILES = 30
N_BROKEN = 18
FOUND = (3, 7, 9, 24)  # each found a fault: errors that no decoder should show, and a film of days


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Medium to N_FILES files of `mien sample` that have it, of each format in turn."""
    root = tmp_path_factory.mktemp("sample")
    write_sample(root, n_subjects=1, n_per_emotion=2)
    files = {suffix: sorted(root.rglob(f"*.{suffix}")) for suffix in ("wav", "mp3", "mp4", "flv")}
    films = [path for path in files["mp4"] if path.name.startswith("01-")]  # the others have no sound
    return {
        "audio": in_turn(files["wav"], films, files["flv"], files["mp3"])[:N_FILES],
        "video": in_turn(files["mp4"], files["flv"])[:N_FILES],
    }


@pytest.fixture(scope="module")
def whole(sample: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureTable]:
    """Medium to the rows of the files as they are."""
    tables = {}
    for medium, files in sample.items():
        tables[medium], rejects = extracted(tmp_path_factory.mktemp(medium), medium, files)
        assert len(tables[medium]) == N_FILES and not rejects
    return tables


def in_turn(*lists: list[Path]) -> list[Path]:
    longest = max(map(len, lists))
    return [paths[i] for i in range(longest) for paths in lists if i < len(paths)]


@pytest.mark.parametrize("medium", ["audio", "video"])
@pytest.mark.parametrize("seed", [0, 1, 2, *FOUND])
def test_each_broken_file_is_a_reject_or_a_row_and_all_others_are_as_without_it(tmp_path, sample, whole, medium, seed):
    rng = random.Random(f"{medium} {seed}")
    assert_only_the_broken_suffer(tmp_path, medium, sample[medium], whole[medium], N_BROKEN, rng)


# ------------------------------------------------------------------ make soak


ROUNDS = {"audio": 13, "video": 13, "sensors": 13, "openface": 3}  # of 240 broken files: 10,080


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_broken_files(tmp_path, sample, capsys):
    kinds = {**sample, "sensors": recordings(tmp_path / "sensors"), "openface": [openface(tmp_path / "units.csv")]}
    for medium, n_rounds in ROUNDS.items():
        files = [
            Path(shutil.copy(path, tmp_path / f"{medium}-{i:03}{path.suffix}"))
            for i, path in zip(range(300), itertools.cycle(kinds[medium]))
        ]
        intact, rejects = extracted(tmp_path / f"whole-{medium}", medium, files)
        assert len(intact) == len(files) and not rejects
        became: Counter[str] = Counter()
        for seed in range(n_rounds):
            place = tmp_path / f"{medium}-{seed}"
            place.mkdir()
            rng = random.Random(f"soak {medium} {seed}")
            became += assert_only_the_broken_suffer(place, medium, files, intact, 240, rng)
        with capsys.disabled():
            print(f"\n{medium}: {became.total()} broken files:", dict(became.most_common()))


def recordings(folder: Path) -> list[Path]:
    """Of sensors: BDF, EDF, and a CSV, four channels of three seconds."""
    import edfio

    folder.mkdir()
    values = np.random.default_rng(0).normal(0, 10, (4, 768))
    for suffix, kind, signal in (("bdf", edfio.Bdf, edfio.BdfSignal), ("edf", edfio.Edf, edfio.EdfSignal)):
        channels = [signal(row, 256, label=f"c{k}", physical_range=(-100, 100)) for k, row in enumerate(values)]
        kind(channels, data_record_duration=1).write(folder / f"a.{suffix}")
    rows = np.column_stack([np.arange(768) / 256, values.T])
    np.savetxt(folder / "a.csv", rows, delimiter=",", header="time_s,c0,c1,c2,c3", comments="", fmt="%.6f")
    return sorted(folder.iterdir())


def openface(path: Path) -> Path:
    """What OpenFace would write of three seconds."""
    values = np.random.default_rng(0).uniform(0, 1, (90, len(ACTION_UNITS)))
    rows = np.column_stack([np.arange(90) / 30, np.ones((90, 2)), values])
    header = ",".join(["timestamp", "confidence", "success", *ACTION_UNITS])
    np.savetxt(path, rows, delimiter=",", header=header, comments="", fmt="%.3f")
    return path
