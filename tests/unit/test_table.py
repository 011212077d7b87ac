"""Anyone's own recordings: what a table of clips may say, and that each of its lines is accounted for."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from breaking import table_accounted
from mien.cli.main import main
from mien.corpora import CORPORA, Verification, ravdess
from mien.corpora.attach import attach
from mien.corpora.clip import LABEL_SOURCES, Clip, Medium, Rating, Reject
from mien.corpora.remote import import_clips as import_from
from mien.corpora.table import Settings, import_clips, verify
from mien.corpora.table.clips import seconds
from mien.data.splits import make_splits
from mien.errors import CorpusError
from mien.experiment import ProtocolConfig
from mien.folder import Folder

HEADER = "file,speaker,emotion"
FILES = ("a.wav", "b.wav", "day 2/c.wav", "film.mp4", "brain.bdf", "a.csv")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of files whose bytes do not matter: import opens none."""
    for name in FILES:
        path = tmp_path / "own" / name
        write_name(path)
    return tmp_path / "own"


def write_name(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def read(root: Path, text: str | bytes, name: str = "t.csv", **options: Any) -> tuple[list[Clip], list[Reject]]:
    (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_path(root / name, **options)


def read_path(path: Path, **options: Any) -> tuple[list[Clip], list[Reject]]:
    found = list(import_clips(path, Settings(name="own", **options)))
    return [r for r in found if isinstance(r, Clip)], [r for r in found if isinstance(r, Reject)]


def reasons(rejects: Sequence[Reject]) -> list[tuple[str, str]]:
    """Line and reason of each, sorted."""
    return sorted((reject.detail.split(": ")[0].rpartition(" ")[2], reject.reason) for reject in rejects)


# ------------------------------------------------------------------ what a table says


def test_a_line_becomes_a_clip_with_all_that_it_says(root: Path) -> None:
    clips, rejects = read(
        root,
        "File_Name;Speaker;Gender;age;emotion;session;split;start;end;weather\n"
        "day 2/c.wav;Ann;female;31;happy;m1;val;0 days 00:00:01.500000;NaT;rain\n",
        map={"happy": "happiness"},
        source="intended",
    )
    assert rejects == []
    (clip,) = clips
    assert (clip.id, clip.corpus, clip.subject) == ("own/day 2/c_1.500-end", "own", "own/Ann")
    assert clip.media == {"audio": Medium(path=str(root / "day 2/c.wav"), start_s=1.5)}
    assert clip.groups == {"session": "own/m1"}
    assert clip.attributes == {"sex": "female", "age": "31", "split": "dev", "weather": "rain"}
    (label,) = clip.labels
    assert (label.source, label.own, label.emotion, dict(label.votes)) == ("intended", "happy", "happiness", {})


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("path", "film.mp4", {"audio": "film.mp4", "video": "film.mp4"}),
        ("file", "brain.bdf", {"eeg": "brain.bdf", "physio": "brain.bdf"}),
        ("audio,video,openface", "a.wav,film.mp4,a.csv", {"audio": "a.wav", "video": "film.mp4", "openface": "a.csv"}),
        ("file,audio", "film.mp4,a.wav", {"audio": "a.wav", "video": "film.mp4"}),
        ("file,thermal", "a.wav,film.mp4", {"audio": "a.wav", "thermal": "film.mp4"}),
    ],
)
def test_a_file_serves_as_its_suffix_or_its_column_says(
    root: Path, header: str, row: str, expected: Mapping[str, str]
) -> None:
    (clip,), rejects = read(root, f"{header},subject\n{row},s\n", media=("thermal",))
    assert rejects == []
    assert {name: medium.path for name, medium in clip.media.items()} == {
        name: str(root / file) for name, file in expected.items()
    }


def test_a_stretch_is_cut_from_media_and_not_from_tables(root: Path) -> None:
    (clip,), _ = read(root, "audio,openface,subject,start,end\na.wav,a.csv,s,1,2.5\n")
    assert not clip.media["audio"].is_whole
    assert clip.media["openface"].is_whole
    assert clip.id == "own/a_1.000-2.500"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", None), ("2", 2.0), ("1e-1", 0.1), ("0 days 00:00:01.500000", 1.5), ("1 days, 1:00:00", 90000.0)],
)
def test_times_are_seconds_or_timedeltas(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


def test_several_annotators_become_votes_a_majority_and_a_mean(root: Path) -> None:
    lines = ["r1,joy,1,", "r2,happy,2,", "r3,sad,3,8"]
    text = "file,subject,annotator,emotion,valence,arousal,low,high\n" + "".join(
        f"a.wav,s,{one},1,9\n" for one in lines
    )
    (clip,), rejects = read(root, text, map={"joy": "happiness", "happy": "happiness"})
    assert rejects == []
    (label,) = clip.labels
    assert (label.own, label.emotion) == ("happy:joy", "happiness")
    assert label.votes == {"happiness": pytest.approx(2 / 3), "sad": pytest.approx(1 / 3)}
    assert label.ratings["valence"] == Rating(
        value=2.0, low=1, high=9, n_raters=3, agreement=label.ratings["valence"].agreement
    )
    assert label.ratings["valence"].agreement == pytest.approx(1 - 2 * 1 / ((10 * 2 - 4 - 9) * 3 / 2))
    assert label.ratings["arousal"] == Rating(value=8.0, low=1, high=9)


def test_without_a_majority_there_is_no_emotion_and_the_votes_stay(root: Path) -> None:
    (clip,), _ = read(root, "file,subject,rater,emotion\na.wav,s,1,x\na.wav,s,2,y\n")
    (label,) = clip.labels
    assert (label.own, label.emotion, dict(label.votes)) == ("x:y", None, {"x": 0.5, "y": 0.5})


def test_attributes_that_annotators_give_stand_side_by_side(root: Path) -> None:
    (clip,), _ = read(root, "file,subject,rater,note\na.wav,s,1,loud\na.wav,s,2,noisy\n")
    assert clip.attributes == {"note": "loud | noisy"}
    assert clip.labels == ()


def test_a_subject_with_a_slash_is_another_corpus_s_person(root: Path) -> None:
    clips, _ = read(root, "file,subject\na.wav,ravdess/07\nb.wav,7\n")
    assert [clip.subject for clip in clips] == ["ravdess/07", "own/7"]


@pytest.mark.parametrize("said", ["ravdess/07", "ravdess/07/", "/ravdess/07", "Ravdess / 07", "RAVDESS/07"])
def test_splits_keep_a_person_of_ravdess_together_however_a_table_writes_the_name(root: Path, said: str) -> None:
    names = [*FILES[:2], "film.mp4", "brain.bdf"]
    clips, rejects = read(
        root, "file,subject\n" + "\n".join(f"{name},{said if n else '07'}" for n, name in enumerate(names))
    )
    assert rejects == []
    assert [clip.subject for clip in clips if clip.id != "own/a"] == ["ravdess/07"] * 3
    for actor in range(1, 9):
        write_name(root / "ravdess" / f"Actor_{actor:02}" / f"03-01-01-01-01-01-{actor:02}.wav")
    clips += [one for one in ravdess.import_clips(root / "ravdess") if isinstance(one, Clip)]
    assert len({clip.subject for clip in clips}) == 9  # own/07 is another person
    columns = {
        "clip_ids": [clip.id for clip in clips],
        "subjects": [clip.subject for clip in clips],
        "corpora": [clip.corpus for clip in clips],
        "groups": {},
        "copies": np.arange(len(clips)),
        "overlaps": np.empty((0, 2), np.int64),
        "strata": np.zeros(len(clips), np.int64),
        "sides": [],
    }
    for split in make_splits(**columns, protocol=ProtocolConfig(folds=4)):
        for rows in (split.train, split.validation, split.test):
            own = [row for row in rows if clips[row].id in ("own/b", "own/film", "own/brain")]
            assert len(own) in (0, 3)
            assert any(clips[row].subject == "ravdess/07" and clips[row].corpus == "ravdess" for row in rows) == bool(
                own
            )


def test_columns_are_renamed(root: Path) -> None:
    (clip,), _ = read(root, "wav,who,label\na.wav,s,x\n", rename={"wav": "file", "who": "subject", "label": "emotion"})
    assert (clip.subject, clip.labels[0].own) == ("own/s", "x")


def test_paths_start_where_root_says(root: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "t.csv").write_text("file,subject\nday 2/c.wav,s\n")
    (clip,), _ = read_path(tmp_path / "tables" / "t.csv", root=str(root))
    assert (clip.id, clip.media["audio"].path) == ("own/day 2/c", str(root / "day 2/c.wav"))


def test_an_absolute_path_stands_as_it_is(root: Path, tmp_path: Path) -> None:
    (tmp_path / "far.wav").write_bytes(b"x")
    clips, _ = read(root, f"file,subject\n{tmp_path / 'far.wav'},s\n{root / 'a.wav'},s\n")
    assert [clip.id for clip in clips] == ["own/a", f"own{tmp_path / 'far'}"]


def test_the_scale_may_be_a_setting(root: Path) -> None:
    (clip,), _ = read(root, "file,subject,valence\na.wav,s,0.5\n", scale=(-1.0, 1.0))
    assert clip.labels[0].ratings == {"valence": Rating(value=0.5, low=-1, high=1)}


def test_the_index_that_pandas_writes_is_no_nameless_column(root: Path) -> None:
    (clip,), rejects = read(root, ",file,speaker\n0,a.wav,s\n")
    assert (clip.id, rejects) == ("own/a", [])


def test_clips_may_be_named_by_the_table(root: Path) -> None:
    (clip,), _ = read(root, "clip_id,file,subject\nu1,a.wav,s\n")
    assert clip.id == "own/u1"


def test_media_are_attached_by_the_stem_or_the_id(root: Path) -> None:
    clips, _ = read(root, "file,subject,start,end\na.wav,s,,\nday 2/c.wav,s,0,2\n")
    (root / "faces").mkdir()
    (root / "faces" / "a.csv").write_text("x")
    (root / "faces" / "c_0.000-2.000.csv").write_text("x")
    found = [record for record in attach(clips, "openface", str(root / "faces")) if isinstance(record, Clip)]
    assert [clip.media["openface"].path.rpartition("/")[2] for clip in found] == ["a.csv", "c_0.000-2.000.csv"]


# ------------------------------------------------------------------ what cannot be used


@pytest.mark.parametrize(
    ("header", "row", "reason"),
    [
        (HEADER, "gone.wav,s,x", "missing"),
        (HEADER, "../a.wav,s,x", "outside-root"),
        (HEADER, "day 2/../../../a.wav,s,x", "outside-root"),
        (HEADER, ",s,x", "no-file"),
        (HEADER, "a.wav,,x", "no-subject"),
        (HEADER, "a.wav,nan,x", "no-subject"),
        (HEADER, "a.wav, / ,x", "no-subject"),
        (HEADER, "a.txt,s,x", "unknown-suffix"),
        (HEADER, "day 2.wav,s,x", "missing"),
        (HEADER, "a.wav,s", "bad-row"),
        (HEADER, "a.wav,s,x,y", "bad-row"),
        (HEADER, "a\0.wav,s,x", "bad-path"),
        (HEADER, "ftp://host/a.wav,s,x", "bad-path"),
        (HEADER, "a" * 300 + ".wav,s,x", "unreadable"),
        (HEADER + ",start,end", "a.wav,s,x,2,1", "bad-span"),
        (HEADER + ",start,end", "a.wav,s,x,-1,1", "bad-span"),
        (HEADER + ",start,end", "a.wav,s,x,1,inf", "bad-span"),
        (HEADER + ",start,end", "a.wav,s,x,soon,1", "bad-time"),
        (HEADER + ",valence,low,high", "a.wav,s,x,10,1,9", "off-scale"),
        (HEADER + ",valence,low,high", "a.wav,s,x,inf,1,9", "off-scale"),
        (HEADER + ",valence,low,high", "a.wav,s,x,high,1,9", "bad-number"),
        ("audio,speaker,emotion", "day 2,s,x", "unreadable"),
    ],
)
def test_a_row_that_cannot_be_used_is_a_reject_with_its_line(root: Path, header: str, row: str, reason: str) -> None:
    good = "b.wav,s,x" + (",,"[: header.count("start") * 2]) + (",5,1,9" if "valence" in header else "")
    clips, rejects = read(root, f"{header}\n{good}\n{row}\n")
    assert [clip.id for clip in clips] == ["own/b"]
    assert reasons(rejects) == [("3", reason)]
    assert rejects[0].path == str(root / "t.csv")
    assert rejects[0].detail.startswith(f"{root / 't.csv'}, line 3: ")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["a.wav,s,x", "a.wav,s,x"], "duplicate"),
        (["a.wav,s,x", "a.wav,s,y"], "duplicate"),
        (["a.wav,s,x", "a.wav,t,x"], "conflict"),
        (["film.mp4,s,x", "film.wav,s,x"], "same-name"),
    ],
)
def test_a_second_line_of_one_clip_is_a_reject(root: Path, rows: Sequence[str], reason: str) -> None:
    (root / "film.wav").write_bytes(b"x")
    clips, rejects = read(root, "\n".join([HEADER, *rows]))
    assert len(clips) == 1
    assert reasons(rejects) == [("3", reason)]


def test_a_word_that_is_not_of_the_vocabulary_is_a_reject(root: Path) -> None:
    text = f"{HEADER}\na.wav,s,happy\nb.wav,s,bored\n"
    clips, rejects = read(root, text, vocabulary=("common6",), map={"happy": "happiness"})
    assert [clip.labels[0].emotion for clip in clips] == ["happiness"]
    assert reasons(rejects) == [("3", "unknown-emotion")]
    assert len(read(root, text)[0]) == 2


def test_a_clip_keeps_the_files_that_are_there(root: Path) -> None:
    (clip,), (reject,) = read(root, "audio,video,subject\na.wav,gone.mp4,s\n")
    assert set(clip.media) == {"audio"}
    assert (reject.id, reject.reason) == (clip.id, "missing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        (HEADER, "has no rows"),
        ("wav_file,speaker\na.wav,s\n", "no column names files; its columns are wav_file, speaker"),
        ("filename,speaker\na.wav,s\n", "the nearest is filename: --table.rename filename=file"),
        ("file,file,speaker\na.wav,b.wav,s\n", "two columns are called 'file'"),
        ("file,path,speaker\na.wav,b.wav,s\n", "the columns file and path both say files"),
        ("file,subject,speaker\na.wav,b.wav,s\n", "the columns subject and speaker both say the subject"),
        ("file,,speaker\na.wav,,s\n", "column 2 has no name"),
        ("file,subject,valence\na.wav,s,3\n", "column valence: its scale is not stated"),
        ("file,subject,valence,low,high\na.wav,s,3,1,5\nb.wav,s,3,1,9\n", "a scale is the same in all lines"),
        ("file,speaker\nA\xe4.wav,s\n".encode("latin-1"), "is not UTF-8 text"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(root: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(CorpusError) as error:
        read(root, text)
    assert message in str(error.value)
    assert str(error.value).startswith(str(root / "t.csv"))
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_is_no_part_of_a_name(root: Path) -> None:
    (clip,), _ = read(root, "\ufeff" + f"{HEADER}\na.wav,s,x\n")
    assert clip.id == "own/a"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "ravdess"}, "table.name 'ravdess': a corpus of this name is known already"),
        ({"name": "../up"}, "table.name '../up': it names a folder"),
        ({"name": ""}, "it names a folder"),
        ({"subject": "("}, "table.subject '(': is no regular expression"),
        ({"scale": (5.0, 1.0)}, "table.scale 5 1: the lower end comes first"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CorpusError) as error:
        Settings(**options)
    assert message in str(error.value)


def test_a_column_that_is_renamed_must_be_there(root: Path) -> None:
    with pytest.raises(CorpusError, match=r"table\.rename 'wavs': .* has no such column: the nearest is wav"):
        read(root, "wav,subject\na.wav,s\n", rename={"wavs": "file"})


def test_any_source_of_labels_may_be_stated() -> None:
    assert set(get_args(get_type_hints(Settings)["source"])) == set(LABEL_SOURCES)


# ------------------------------------------------------------------ forms


def test_parquet_of_odd_types(root: Path) -> None:
    table = pa.table(
        {
            "file": pa.array(["a.wav", "b.wav", None]).dictionary_encode(),
            "speaker": pa.array([7.0, 8.0, None]),
            "start": pa.array([0, 1_500_000_000, None], pa.duration("ns")),
            "emotion": pa.array(["x", None, "y"], pa.large_string()),
            "when": pa.array([0, 10**6, None], pa.timestamp("us")),
            "heard": pa.array([True, False, None]),
        }
    )
    pq.write_table(table, root / "t.parquet")
    clips, rejects = read_path(root / "t.parquet")
    assert [(clip.id, clip.subject) for clip in clips] == [("own/a", "own/7"), ("own/b_1.500-end", "own/8")]
    assert clips[0].attributes == {"when": "1970-01-01T00:00:00", "heard": "true"}
    assert clips[1].labels == ()
    assert [reject.detail for reject in rejects] == [
        f"{root / 't.parquet'}, row 3: names no file: fill it in, or remove the line"
    ]


@pytest.mark.parametrize("column", [pa.array([[1.0]]), pa.array([b"RIFF"]), pa.array([{"bytes": b"x"}])])
def test_parquet_of_what_is_no_cell_is_refused(root: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"file": ["a.wav"], "audio data": column}), root / "t.parquet")
    with pytest.raises(CorpusError, match=r"column audio data: holds .*, which is no text or number"):
        read_path(root / "t.parquet")


def test_json_lines_of_an_audio_folder(root: Path) -> None:
    lines = [{"file_name": "a.wav", "speaker": 3, "emotion": "x"}, {"file_name": "b.wav", "speaker": 4, "loud": True}]
    text = "\n".join([*map(json.dumps, lines), "{", '{"file_name": ["b.wav"]}', '{"file_name": "\\ud800"}', "[" * 9999])
    (root / "metadata.jsonl").write_text(text)
    clips, rejects = read_path(root)
    assert [(clip.id, clip.subject) for clip in clips] == [("own/a", "own/3"), ("own/b", "own/4")]
    assert clips[1].attributes == {"loud": "true"}
    assert reasons(rejects) == [(str(line), "bad-row") for line in (3, 4, 5, 6)]


def test_an_audio_folder_of_sides(tmp_path: Path) -> None:
    for side in ("train", "validation"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "1.wav").write_bytes(b"x")
        (tmp_path / side / "metadata.csv").write_text("file_name,speaker\n1.wav,s\n")
    clips, rejects = read_path(tmp_path)
    assert rejects == []
    assert [(clip.id, clip.attributes["split"]) for clip in clips] == [
        ("own/train/1", "train"),
        ("own/validation/1", "dev"),
    ]


def test_a_folder_per_class_has_unknown_subjects(tmp_path: Path) -> None:
    for name in ("angry/ann_1.wav", "test/sad/ben_1.wav", "stray.wav", "angry/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    clips, rejects = read_path(tmp_path)
    assert [(clip.id, clip.subject, clip.labels[0].emotion, clip.attributes) for clip in clips] == [
        ("own/angry/ann_1", "own/unknown", "angry", {}),
        ("own/test/sad/ben_1", "own/unknown", "sad", {"split": "test"}),
    ]
    assert [(reject.path, reject.reason) for reject in rejects] == [(str(tmp_path / "stray.wav"), "wrong-folder")]
    clips, _ = read_path(tmp_path, subject=r"([a-z]+)_\d")
    assert [clip.subject for clip in clips] == ["own/ann", "own/ben"]
    clips, rejects = read_path(tmp_path, subject=r"(ann)_\d")
    assert [reject.reason for reject in rejects] == ["no-subject", "wrong-folder"]


def test_an_audformat_database(tmp_path: Path) -> None:
    import audformat
    import pandas as pd

    database = audformat.Database("mydb")
    database.schemes["emotion"] = audformat.Scheme(labels=["angry", "happy"])
    database.schemes["arousal"] = audformat.Scheme("float", minimum=0, maximum=1)
    database.schemes["speaker"] = audformat.Scheme(labels={"s1": {"gender": "female"}, "s2": {"gender": "male"}})
    database.splits["test"] = audformat.Split("test")
    files = ["audio/1.wav", "audio/2.wav"]
    index = audformat.segmented_index(files, ["0s", "1.5s"], [pd.NaT, "2s"])
    database["emotion.test"] = audformat.Table(index, split_id="test")
    database["emotion.test"]["emotion"] = audformat.Column(scheme_id="emotion")
    database["emotion.test"]["emotion"].set(["angry", "happy"])
    database["emotion.test"]["arousal"] = audformat.Column(scheme_id="arousal")
    database["emotion.test"]["arousal"].set([0.5, 1.0])
    database["files"] = audformat.Table(audformat.filewise_index(files))
    database["files"]["speaker"] = audformat.Column(scheme_id="speaker")
    database["files"]["speaker"].set(["s1", "s2"])
    database.save(str(tmp_path), storage_format="csv", update_other_formats=False)
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    clips, rejects = read_path(tmp_path)
    assert rejects == []
    assert [(clip.id, clip.subject, clip.attributes) for clip in clips] == [
        ("own/audio/1", "own/s1", {"split": "test", "sex": "female"}),
        ("own/audio/2_1.500-2.000", "own/s2", {"split": "test", "sex": "male"}),
    ]
    assert clips[0].labels[0].ratings == {"arousal": Rating(value=0.5, low=0, high=1)}
    assert [clip.labels[0].emotion for clip in clips] == ["angry", "happy"]
    with pytest.raises(CorpusError, match=r"table\.tables 'emotion': .* has no such table: .*emotion\.test"):
        read_path(tmp_path, tables=("emotion",))


def test_a_pickle_of_an_audformat_table_is_not_read(tmp_path: Path) -> None:
    text = "name: d\nsource: s\nusage: research\nlanguages: []\ntables:\n  t:\n    type: filewise\n    columns:\n      emotion: {}\n"
    (tmp_path / "db.yaml").write_text(text)
    (tmp_path / "db.t.pkl").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(CorpusError, match="a pickle is not read"):
        read_path(tmp_path)
    (tmp_path / "db.yaml").write_text("!!python/object/apply:os.system ['exit 1']")
    with pytest.raises(CorpusError, match="is no header of an audformat database"):
        read_path(tmp_path)


@pytest.mark.slow
def test_a_table_in_a_bucket_names_the_files_beside_it(root: Path, s3: str) -> None:
    place = Folder(f"{s3}/own")
    for name in FILES:
        place.write_bytes(name, b"x")
    place.write_text("t.csv", f"{HEADER}\na.wav,s,x\ngone.wav,s,x\nday 2/c.wav,t,y\n")
    found = list(import_from("table", f"{place.uri}/t.csv", Settings(name="own")))
    clips = [record for record in found if isinstance(record, Clip)]
    assert [(clip.id, clip.media["audio"].path) for clip in clips] == [
        ("own/a", f"{place.uri}/a.wav"),
        ("own/day 2/c", f"{place.uri}/day 2/c.wav"),
    ]
    (reject,) = (record for record in found if isinstance(record, Reject))
    assert reject.detail.startswith(f"{place.uri}/t.csv, line 3: {place.uri}/gone.wav: no such file")
    (root / "t.csv").write_text(f"{HEADER}\na.wav,s,x\n{place.uri}/b.wav,s,x\ngone.wav,s,x\n")
    clips, rejects = read_path(root / "t.csv", root=place.uri)
    assert [(clip.id, clip.media["audio"].path) for clip in clips] == [
        ("own/a", f"{place.uri}/a.wav"),
        ("own/b", f"{place.uri}/b.wav"),
    ]
    assert reasons(rejects) == [("4", "missing")]


# ------------------------------------------------------------------ the command line


@dataclass(frozen=True)
class Asked:
    """Settings of a corpus of which the command line knows nothing."""

    unit: str = "turn"
    """What a clip is."""


def test_settings_of_any_corpus_are_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("mien_meetings")
    given: list[Any] = []

    def noted(root: Path, on_file: object = None, settings: Any = None) -> Verification:
        given.append(settings)
        return Verification(corpus="meetings", root=str(root), counts={}, findings=())

    module.Settings, module.verify = Asked, noted  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mien_meetings", module)
    monkeypatch.setitem(CORPORA, "meetings", "mien_meetings")
    assert main(["verify", "meetings", str(tmp_path), "--meetings.unit", "window"]) == 0
    assert main(["verify", "meetings", str(tmp_path)]) == 0
    assert given == [Asked(unit="window"), Asked()]
    for command in ("verify", "prepare"):
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main([command, "meetings", "--help"])
        said = capsys.readouterr().out
        assert "--meetings.unit" in said
        assert "What a clip is." in said
        assert "--table.name" not in said


def test_settings_are_given_by_pairs_with_or_without_a_sign(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.wav", "b.wav"):
        (root / name).write_bytes(b"RIFF\x24\0\0\0WAVE" + bytes(32))
    (root / "t.csv").write_text("wav,who,label\na.wav,s,x y\nb.wav,s,z\n")
    for words in (["wav=file", "who=subject", "label=emotion"], ["wav", "file", "who", "subject", "label", "emotion"]):
        capsys.readouterr()
        assert main(["verify", "table", str(root / "t.csv"), "--table.rename", *words, "--table.map", "x y=w"]) == 0
        assert "--target.vocabulary w,z" in " ".join(capsys.readouterr().out.split())
    assert main(["verify", "table", str(root / "t.csv"), "--table.name", "cremad"]) == 2
    assert capsys.readouterr().err.startswith("mien: --table.name 'cremad': a corpus of this name")


# ------------------------------------------------------------------ verify


def test_verify_names_what_is_wrong_and_what_will_be_learnt(root: Path) -> None:
    wav = b"RIFF\x24\0\0\0WAVE" + bytes(32)
    for name in ("a.wav", "b.wav"):
        (root / name).write_bytes(wav)
    (root / "day 2/c.wav").write_bytes(wav[:-4])
    (root / "t.csv").write_text(f"{HEADER}\na.wav,s,x\nb.wav,s,y\nday 2/c.wav,t,x\ngone.wav,t,x\n")
    calls: list[tuple[int, int]] = []
    found = verify(root / "t.csv", lambda n_done, n: calls.append((n_done, n)), Settings(name="own"))
    assert (found.corpus, found.counts, found.intact) == ("own", {"lines": (3, 4)}, False)
    assert [(one.severity, one.what) for one in found.findings] == [
        ("error", "missing"),
        ("error", "truncated"),
        ("warning", "byte-identical"),
        ("info", "classes"),
    ]
    assert found.findings[-1].detail == "x 2, y 1; --target.vocabulary x,y"
    assert calls == [(1, 3), (2, 3), (3, 3)]
    (root / "t.csv").write_text("file,emotion\na.wav,x\n")
    found = verify(root / "t.csv")
    assert found.intact
    assert [one.what for one in found.findings] == ["unknown-subjects", "classes"]


# ------------------------------------------------------------------ whatever stands in it


def accounted(path: Path, **options: Any) -> None:
    """Clips and rejects for each line, or one CorpusError."""
    try:
        table_accounted(path, **options)
    except CorpusError as error:
        assert "\n" not in str(error)


CELLS = st.one_of(
    st.sampled_from(
        ["a.wav", "b.wav", "film.mp4", "s", "", "nan", "NaT", "-1", "1e400", "inf", "0 days 00:00:01", "../x"]
    ),
    st.text(max_size=8),
)
COLUMNS = (
    "file",
    "audio",
    "speaker",
    "emotion",
    "start",
    "end",
    "valence",
    "low",
    "high",
    "rater",
    "split",
    "group",
    "x",
)
some = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.slow
@some
@given(
    st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=8, unique=True),
    st.lists(st.lists(CELLS, max_size=9), max_size=5),
    st.sampled_from([",", ";", "\t"]),
)
def test_any_csv_ends_in_clips_and_rejects_or_one_error(
    root: Path, columns: list[str], rows: list[list[str]], delimiter: str
) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows([columns, *rows])
    (root / "t.csv").write_bytes(stream.getvalue().encode("utf-8", "surrogatepass"))
    accounted(root / "t.csv", scale=(0.0, 1.0))
