"""What the SVC benchmark feeds to both sides, and how it reads nkululeko; a stand-in takes nkululeko's place."""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mien.bench import svc
from mien.errors import MienError
from tiny_corpus import wav_of, write_corpus

N_CLIPS = 32 * 7  # all of seven actors: 32 names each in `tiny_corpus`


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ravdess")
    write_corpus(folder, N_CLIPS)
    return folder


@pytest.mark.slow
def test_the_middle_of_a_long_clip_is_kept_and_a_short_one_stays(tmp_path, root):
    (clip_id, *_) = write_corpus(tmp_path / "long", 1)
    ramp = np.linspace(-0.9, 0.9, 5 * svc.RATE_HZ)
    soundfile.write(wav_of(tmp_path / "long", clip_id), ramp, svc.RATE_HZ)
    (clip,) = svc.cut_clips(tmp_path / "long", tmp_path / "cut")
    sound, rate_hz = soundfile.read(clip.media["audio"].path)
    assert (clip.id, rate_hz, len(sound)) == (clip_id, svc.RATE_HZ, 2.4 * svc.RATE_HZ)
    np.testing.assert_allclose(sound, ramp[round(1.3 * svc.RATE_HZ) : round(3.7 * svc.RATE_HZ)], atol=1e-4)
    short = svc.cut_clips(root, tmp_path / "short")
    assert [soundfile.info(clip.media["audio"].path).frames for clip in short] == [
        soundfile.info(wav_of(root, clip.id)).frames for clip in short
    ]


@pytest.mark.slow
def test_the_table_names_each_clip_once_and_tests_each_person_in_one_fold(tmp_path, root):
    clips = svc.cut_clips(root, tmp_path / "cut")
    svc.write_table(clips, tmp_path / "clips.csv")
    with (tmp_path / "clips.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [clip.media["audio"].path for clip in clips]
    assert {row["emotion"] for row in rows} == set(svc.VOCABULARIES["ravdess8"])
    folds = defaultdict(set)
    for row in rows:
        folds[row["speaker"]].add(row["fold"])
    assert len(folds) == 7 and all(len(found) == 1 for found in folds.values())
    assert set.union(*folds.values()) == {str(fold) for fold in range(6)}


STAND_IN = """#!{python}
import sys, time
print("DEBUG: featureset: Extracting OpenSMILE eGeMAPSv02 features", file=sys.stderr, flush=True)
time.sleep(0.2)
print("DEBUG: model: ignoring splits and doing LOGO with 6 groups", file=sys.stderr, flush=True)
{end}
"""


def stand_in(path: Path, end: str) -> Path:
    path.write_text(STAND_IN.format(python=sys.executable, end=end))
    path.chmod(0o755)
    return path


def test_nkululeko_is_read_as_it_speaks(tmp_path):
    python = stand_in(tmp_path / "python", "print('DEBUG: model: LOGO: 6 folds: mean 0.518, std: 0.070')")
    attempt = svc.run_nkululeko(python, tmp_path / "clips.csv", tmp_path)
    assert attempt.uar == 0.518
    assert list(attempt.steps) == ["imports and tables", "features", "folds, plot and table"]
    assert all(seconds >= 0 for seconds in attempt.steps.values())
    # It slept so long. How much of it falls into a step depends on when this process comes to read a line.
    assert attempt.total_s >= 0.2
    assert attempt.total_s == pytest.approx(sum(attempt.steps.values()))


@pytest.mark.parametrize("end", ["sys.exit('no such table')", "print('no such table')"])
def test_without_a_score_there_is_no_time(tmp_path, end):
    with pytest.raises(MienError, match="(?s)nkululeko ended with .* without its score: .*no such table"):
        svc.run_nkululeko(stand_in(tmp_path / "python", end), tmp_path / "clips.csv", tmp_path)


def test_the_ratio_is_of_medians():
    def attempts(*seconds: float) -> list[svc.Attempt]:
        return [svc.Attempt(steps={"a": second / 2, "b": second / 2}, uar=0.5) for second in seconds]

    timing = svc.SvcTiming(n_clips=3, mien=attempts(10, 90, 20), nkululeko=attempts(30, 40, 1000))
    assert timing.ratio == 2
    assert svc.median_steps(timing.mien) == {"a": 10, "b": 10}
