"""Files of every format that mien reads, broken at random, by a seed. `make soak` breaks many more."""

from __future__ import annotations

import csv
import io
import itertools
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from breaking import WAYS, assert_only_the_broken_suffer, break_some, extracted, flipped_beginning, imported_each
from mien.corpora.sample.write import write_sample
from mien.features.extractors.openface import ACTION_UNITS
from mien.features.store import FeatureTable
from tiny_ami import FILES, NXT, put
from tiny_mahnob import GAZE, SENSORS, UNITS, lively, write_gaze, write_sensors, write_session
from tiny_media import write_movie

pytestmark = [pytest.mark.fault, pytest.mark.slow]

N_FILES = 30
N_BROKEN = 18
# Of sound and pictures; the last four found a fault each: errors that no decoder should show, and a film of days.
SEEDS = (0, 1, 2, 3, 7, 9, 24)
OF_SENSORS = [*WAYS, flipped_beginning, flipped_beginning]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Kind to files of it; of sound and pictures N_FILES of `mien sample`, of each format in turn."""
    root = tmp_path_factory.mktemp("sample")
    write_sample(root, n_subjects=1, n_per_emotion=2)
    files = {suffix: sorted(root.rglob(f"*.{suffix}")) for suffix in ("wav", "mp3", "mp4", "flv")}
    films = [path for path in files["mp4"] if path.name.startswith("01-")]  # the others have no sound
    avi = write_movie(root / "a.avi", 1.0, video="mpeg4", audio=None)
    return {
        "audio": in_turn(files["wav"], films, files["flv"], files["mp3"])[:N_FILES],
        "video": in_turn(files["mp4"], files["flv"])[:N_FILES],
        "avi": copies_of([Path(avi)], root / "avi"),
        "sensors": copies_of(recordings(root / "sensors"), root / "sensors-copies"),
        "eeg": copies_of([trial(root / "trial.bdf")], root / "eeg"),
        "body": copies_of([root / "trial.bdf"], root / "body"),
        "openface": copies_of([openface(root / "units.csv")], root / "openface"),
    }


def copies_of(paths: list[Path], folder: Path, n_files: int = N_FILES) -> list[Path]:
    folder.mkdir()
    numbered = zip(range(n_files), itertools.cycle(paths))
    return [Path(shutil.copy(path, folder / f"{number:03}{path.suffix}")) for number, path in numbered]


@pytest.fixture(scope="module")
def whole(sample: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureTable]:
    """Kind to the rows of the files as they are."""
    tables = {}
    for kind, (rows, rejects) in extracted(tmp_path_factory.mktemp("whole"), sample).items():
        assert len(rows) == N_FILES and not rejects
        assert all(rows.frames(row).valid.any() for row in range(N_FILES))
        tables[kind] = rows
    return tables


def in_turn(*lists: list[Path]) -> list[Path]:
    longest = max(map(len, lists))
    return [paths[i] for i in range(longest) for paths in lists if i < len(paths)]


def test_each_broken_file_is_a_reject_or_a_row_and_all_others_are_as_without_it(tmp_path, sample, whole):
    copies = {}
    for kind, files in sample.items():
        copies[kind] = {}
        for seed in SEEDS if kind in ("audio", "video") else SEEDS[:2]:
            ways = OF_SENSORS if kind in ("sensors", "eeg", "body") else WAYS
            rng = random.Random(f"{kind} {seed}")
            copies[kind] |= break_some(tmp_path / f"{kind}-{seed}", files, N_BROKEN, rng, ways)
    became = assert_only_the_broken_suffer(tmp_path / "broken", copies, whole)
    assert sum(of_kind.total() for of_kind in became.values()) == N_BROKEN * (2 * len(SEEDS) + 5 * 2)
    for kind, of_kind in became.items():
        assert len(of_kind) > 2, kind


# ------------------------------------------------------------------ imports


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path, str]]:
    """Corpus, root, and a file below it whose contents its import reads."""
    place = tmp_path_factory.mktemp("roots")
    found: list[tuple[str, Path, str]] = []

    def add(corpus: str, root: Path, names: Iterable[str]) -> None:
        found.extend((corpus, root, name) for name in names)

    add("mahnob", mahnob_root(place / "mahnob"), MAHNOB)
    add("ami", ami_root(place / "ami"), AMI)
    for name, write in TABLES.items():
        root = put(place / name, dict.fromkeys(("a.wav", "b.wav", "film.mp4"), b"x"))
        write(root)
        add("table", root, [name])
    add("table", audformat_root(place / "audformat"), ("db.yaml", "db.t.csv"))
    add("ratings", put(place / "ratings", {"ratings.csv": RATINGS}), ["ratings.csv"])
    add("cremad", cremad_root(place / "cremad"), CREMAD)
    return found


def mahnob_root(root: Path) -> Path:
    for number in (2, 4):
        folder = write_session(root, number)
        write_gaze(folder / GAZE, 1000, 1000, 4_410_000)
        write_sensors(folder / SENSORS, 3, (0.5, 2.5), rate_hz=16, channels=("Fp1", "EXG1"))
    return put(root, {"Subjects/subject1.xml": '<subject id="1" sex="F" age="24"/>'})


MAHNOB = (*(f"Sessions/2/{name}" for name in ("session.xml", SENSORS, GAZE)), "Subjects/subject1.xml")


def ami_root(root: Path) -> Path:
    table = "meeting,participant,start_s,end_s,valence,arousal,annotator,low,high\nES2002a,MEE006,1,2,3,7,r1,1,9\n"
    return put(root, FILES | {"mine.csv": table})


AMI = (*(name for name in FILES if name.startswith(NXT)), "mine.csv")
CLIPS = "file,speaker,emotion,start,end,valence,low,high\n" + "".join(
    f"{name},s,x,{number},{number + 1},1,0,2\n" for number, name in enumerate(("a.wav", "b.wav", "film.mp4"))
)
ROWS = list(csv.DictReader(io.StringIO(CLIPS)))
TABLES = {
    "clips.csv": lambda root: (root / "clips.csv").write_text(CLIPS),
    "clips.parquet": lambda root: pq.write_table(
        pa.Table.from_pylist(ROWS), root / "clips.parquet", write_page_checksum=True
    ),
    "metadata.jsonl": lambda root: (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, ROWS))),
}
RATINGS = "clip_id,rater,source,low,high,valence\n" + "".join(
    f"own/{clip},{rater},annotated,1,9,{clip + rater}\n" for clip in range(4) for rater in (1, 2)
)
AUDFORMAT = """\
name: d
source: s
usage: research
languages: []
schemes:
  emotion: {dtype: str, labels: [x, y]}
  valence: {dtype: float, minimum: 0, maximum: 2}
  speaker: {dtype: str, labels: {s: {gender: female, tags: [a]}}}
splits:
  test: {type: test}
tables:
  t:
    type: filewise
    split_id: test
    columns:
      emotion: {scheme_id: emotion}
      valence: {scheme_id: valence}
      speaker: {scheme_id: speaker}
"""


def audformat_root(root: Path) -> Path:
    table = "file,emotion,valence,speaker\na.wav,x,1,s\nb.wav,y,2,s\n"
    return put(root, {"a.wav": b"x", "b.wav": b"x", "db.yaml": AUDFORMAT, "db.t.csv": table})


def cremad_root(root: Path) -> Path:
    stems = [f"1001_{sentence}_ANG_XX" for sentence in ("TIE", "IOM", "IWW")]
    summary = "FileName,VoiceVote,FaceVote,MultiModalVote\n" + "".join(f"{stem},A,D,A:N\n" for stem in stems)
    votes = ",A,D,F,H,N,S,fileName,numResponses,agreement,emoVote\n" + "".join(
        f"{condition}0000{n},5,1,0,0,4,0,{stem},10,0.5,A\n" for n, stem in enumerate(stems) for condition in (1, 2, 3)
    )
    people = "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n"
    media: dict[str, str | bytes] = {f"AudioWAV/{stem}.wav": b"x" for stem in stems}
    return put(root, media | dict(zip(CREMAD, (people, summary, votes))))


CREMAD = ("VideoDemographics.csv", "processedResults/summaryTable.csv", "processedResults/tabulatedVotes.csv")


def test_each_import_accounts_for_all_that_a_broken_file_stands_for(tmp_path, roots):
    became = imported_each(tmp_path / "broken", roots, 12, random.Random("imports"))
    assert became.total() == 12 * len(roots) > 200
    assert min(became["clips"], became["rejects"], became["one error"]) > 10


# ------------------------------------------------------------------ make soak


ROUNDS = {"audio": 13, "video": 13, "avi": 8, "sensors": 13, "eeg": 3, "body": 3, "openface": 3}  # of 240 broken files


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_broken_files(tmp_path, sample, capsys):
    for kind, n_rounds in ROUNDS.items():
        files = copies_of(sample[kind], tmp_path / kind, 300)
        rows, rejects = extracted(tmp_path / f"whole-{kind}", {kind: files})[kind]
        assert len(rows) == len(files) and not rejects
        became: Counter[str] = Counter()
        for seed in range(n_rounds):
            ways = OF_SENSORS if kind in ("sensors", "eeg", "body") else WAYS
            copies = break_some(tmp_path / f"{kind}-{seed}", files, 240, random.Random(f"soak {kind} {seed}"), ways)
            became += assert_only_the_broken_suffer(tmp_path / "broken", {kind: copies}, {kind: rows})[kind]
            shutil.rmtree(tmp_path / f"{kind}-{seed}")
        with capsys.disabled():
            print(f"\n{kind}: {became.total()} broken files:", dict(became.most_common()))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_broken_imports(tmp_path, roots, capsys):
    became = imported_each(tmp_path / "broken", roots, 480, random.Random("soak imports"))
    with capsys.disabled():
        print(f"\n{became.total()} imports of a broken file:", dict(became.most_common()))


# ------------------------------------------------------------------ files of sensors


def trial(path: Path) -> Path:
    """Twelve seconds of a BDF of EEG and body, as MAHNOB-HCI has it."""
    write_sensors(path, 12, rate_hz=128, values=lively(12, 128), units=UNITS)
    return path


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
