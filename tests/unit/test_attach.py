"""Extra media by the names of clips: tables with paths, tables of rows, folders; and nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mien.corpora.attach import attach
from mien.corpora.clip import Clip, Medium, Reject
from mien.errors import CorpusError
from mien.folder import Folder

IDS = ("ravdess/01-03-01-01-01-02", "ravdess/01-04-01-01-01-02", "ravdess/01-05-01-01-01-02")


def clip(id: str, *, path: str | None = None) -> Clip:
    corpus, _, name = id.partition("/")
    return Clip(
        id=id, corpus=corpus, subject=f"{corpus}/1", media={"audio": Medium(path=path or f"/media/03-{name}.wav")}
    )


def sort(records: Sequence[Clip | Reject], medium: str, source: object) -> tuple[dict[str, Medium], list[Reject]]:
    """Clip id to what was attached to it, and the rejects; all clips must be there, in their order."""
    found = list(attach(records, medium, str(source)))
    clips = [record for record in found if isinstance(record, Clip)]
    assert [c.id for c in clips] == [record.id for record in records if isinstance(record, Clip)]
    assert all("audio" in c.media for c in clips)
    return {c.id: c.media[medium] for c in clips if medium in c.media}, [r for r in found if isinstance(r, Reject)]


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


CLIPS = tuple(map(clip, IDS))


def test_a_table_of_paths_and_stretches(tmp_path: Path) -> None:
    table = put(
        tmp_path / "eeg.csv",
        "clip_id,path,start_s,end_s,offset_s,track\n"
        f"{IDS[1]},a.bdf,1.5,2.5,0.25,3\n"
        f"{IDS[0]},/data/b.bdf,,,,\n"
        f"{IDS[2]},s3://bucket/c.bdf,7,,-1,\n",
    )
    media, rejects = sort(CLIPS, "eeg", table)
    assert media == {
        IDS[0]: Medium(path="/data/b.bdf"),
        IDS[1]: Medium(path=str(tmp_path / "a.bdf"), start_s=1.5, end_s=2.5, offset_s=0.25, track=3),
        IDS[2]: Medium(path="s3://bucket/c.bdf", start_s=7.0, offset_s=-1.0),
    }
    assert rejects == []


@pytest.mark.parametrize("separator", [",", ", ", ";", " ; ", "\t"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_separators_blanks_and_empty_lines_do_not_matter(tmp_path: Path, separator: str, bom: str) -> None:
    lines = [("clip_id", "path"), (IDS[0], "a b.csv"), ("", ""), (IDS[2], "c.csv")]
    text = bom + "\r\n".join(separator.join(line) for line in lines) + "\r\n\r\n"
    (tmp_path / "table.csv").write_bytes(text.encode())
    media, rejects = sort(CLIPS, "eeg", tmp_path / "table.csv")
    assert {id: Path(medium.path).name for id, medium in media.items()} == {IDS[0]: "a b.csv", IDS[2]: "c.csv"}
    assert rejects == []


@pytest.mark.parametrize("column", ["clip", "clip_id", "file"])
def test_a_table_of_rows_names_each_row_as_the_table_does(tmp_path: Path, column: str) -> None:
    names = ("01-01-03-01-01-01-02", IDS[1], "Actor_02/03-01-05-01-01-01-02.wav")
    table = put(tmp_path / "means.csv", f"{column},AU01_r\n" + "".join(f" {name} ,0.5\n" for name in names))
    media, rejects = sort(CLIPS, "openface", table)
    assert media == {id: Medium(path=f"{table}#{name}") for id, name in zip(IDS, names)}
    assert rejects == []


def test_files_and_rows_are_found_by_the_names_of_a_corpus(tmp_path: Path) -> None:
    """An audio-video and a video-only file belong to one clip; the first by name stands for it."""
    folder = tmp_path / "tree"
    put(folder / "x" / "02-01-03-01-01-01-02.csv")
    both = put(folder / "y" / "01-01-03-01-01-01-02.csv")
    other = put(folder / "02-01-04-01-01-01-02.csv")
    put(folder / "z" / "02-01-04-01-01-01-02.csv")
    put(folder / "summary.csv")
    put(folder / "01-08-03-01-01-01-02.csv")
    put(folder / "01-01-08-01-01-01-02.csv")
    media, rejects = sort(CLIPS, "openface", folder)
    assert media == {IDS[0]: Medium(path=str(both)), IDS[1]: Medium(path=str(other))}
    assert {reject.reason: reject.detail for reject in rejects} == {
        "unknown-clip": f"{folder}: 1 of 7 names belong to no clip of ravdess that was imported: 01-01-08-01-01-01-02.csv",
        "bad-name": f"{folder}: 2 of 7 names are not names of ravdess: 01-08-03-01-01-01-02.csv, summary.csv",
        "duplicate": f"{folder}: 2 of 7 names are further names of a clip that has one already, and were not used: "
        "x/02-01-03-01-01-01-02.csv, z/02-01-04-01-01-01-02.csv",
    }
    assert {(reject.id, reject.path, reject.stage) for reject in rejects} == {(str(folder), str(folder), "attach")}


def test_of_what_openface_writes_the_tables_are_taken(tmp_path: Path) -> None:
    for suffix in ("csv", "hog", "avi"):
        put(tmp_path / f"01-01-03-01-01-01-02.{suffix}")
    put(tmp_path / "01-01-03-01-01-01-02_of_details.txt")
    media, rejects = sort(CLIPS, "openface", tmp_path)
    assert media == {IDS[0]: Medium(path=str(tmp_path / "01-01-03-01-01-01-02.csv"))}
    assert rejects == []


def test_files_of_two_kinds_need_a_pattern(tmp_path: Path) -> None:
    for name in ("03-01-03-01-01-01-02.wav", "03-01-03-01-01-01-02.txt", "03-01-04-01-01-01-02.wav"):
        put(tmp_path / "deep" / name)
    with pytest.raises(CorpusError, match=r"are files of one name: say which are meant, for example .*\*\.txt$"):
        attach(CLIPS, "headset", str(tmp_path))
    media, rejects = sort(CLIPS, "headset", f"{tmp_path}/*.wav")
    assert {id: Path(medium.path).name for id, medium in media.items()} == {
        IDS[0]: "03-01-03-01-01-01-02.wav",
        IDS[1]: "03-01-04-01-01-01-02.wav",
    }
    assert rejects == []


def test_a_corpus_without_a_rule_for_names_is_found_by_ids_and_by_its_own_files(tmp_path: Path) -> None:
    records = [clip("own/a.b", path="/media/one.x.bdf"), clip("own/c", path="/media/two.bdf"), clip("own/d")]
    table = put(tmp_path / "t.csv", "file,path\na.b,1\ntwo.bdf,2\nown/d,3\nown/e,4\nnowhere.wav,5\n")
    media, rejects = sort(records, "gaze", table)
    assert {id: Path(medium.path).name for id, medium in media.items()} == {"own/a.b": "1", "own/c": "2", "own/d": "3"}
    (reject,) = rejects
    assert reject.reason == "unknown-clip"
    assert reject.detail.endswith("2 of 5 names belong to no clip of own that was imported: own/e, nowhere.wav")


def test_a_file_that_many_clips_were_cut_from_names_none_of_them(tmp_path: Path) -> None:
    records = [clip("own/a", path="/media/meeting.wav"), clip("own/b", path="/media/meeting.wav")]
    table = put(tmp_path / "t.csv", "file,path\nmeeting.wav,1\n")
    with pytest.raises(CorpusError, match=r"meeting\.wav means own/a and own/b: name the clips by their ids"):
        list(attach(records, "gaze", str(table)))


def test_rejects_pass_and_stay_in_their_place(tmp_path: Path) -> None:
    reject = Reject(id="x.wav", path="/media/x.wav", stage="import", reason="bad-name", detail="x")
    table = put(tmp_path / "t.csv", f"clip_id,path\n{IDS[0]},1\n")
    found = list(attach([CLIPS[1], reject, CLIPS[0]], "eeg", str(table)))
    assert found[:2] == [CLIPS[1], reject]
    assert len(found) == 3


def test_clips_are_asked_for_one_by_one(tmp_path: Path) -> None:
    """Ten million clips as Python objects would take 15 GB."""
    table = put(tmp_path / "t.csv", f"clip_id,path\n{IDS[0]},1\n")
    given: list[str] = []

    def clips() -> object:
        for record in CLIPS:
            given.append(record.id)
            yield record

    found = attach(clips(), "eeg", str(table))  # type: ignore[arg-type]
    next(found)
    assert given == [IDS[0]]


def test_two_media_are_attached_one_after_the_other(tmp_path: Path) -> None:
    eeg = put(tmp_path / "eeg.csv", f"clip_id,path\n{IDS[0]},1\n")
    gaze = put(tmp_path / "gaze.csv", f"clip_id,path\n{IDS[0]},2\n")
    (found, *_) = attach(attach(CLIPS, "eeg", str(eeg)), "gaze", str(gaze))
    assert isinstance(found, Clip)
    assert set(found.media) == {"audio", "eeg", "gaze"}


def test_a_medium_that_a_clip_has_is_not_replaced(tmp_path: Path) -> None:
    table = put(tmp_path / "t.csv", f"clip_id,path\n{IDS[0]},1\n")
    with pytest.raises(CorpusError, match=f"medium 'audio': {IDS[0]} has one of this name already: choose another"):
        list(attach(CLIPS, "audio", str(table)))


def test_a_source_of_another_corpus_is_an_error_that_shows_a_name(tmp_path: Path) -> None:
    table = put(tmp_path / "t.csv", "file,path\n1001_IEO_ANG_HI.wav,1\n1001_IEO_FEA_HI.wav,1\n")
    with pytest.raises(
        CorpusError, match=r"none of its 2 names .* clip of ravdess, the first is 1001_IEO_ANG_HI\.wav: "
    ):
        list(attach(CLIPS, "eeg", str(table)))
    assert list(attach([], "eeg", str(table))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv: has no rows: give a table with a header"),
        ("clip_id,path\n", "has no rows"),
        (
            "name,path\na,b\n",
            r"line 1: exactly one column must name the clips \(clip_id or file or clip\); its columns are",
        ),
        ("clip_id,file,path\na,b,c\n", "line 1: exactly one column must name the clips .*; it has clip_id and file"),
        ("clip_id,path,start\na,b,1\n", "line 1: unknown column start: rename or remove it"),
        ("clip_id,path,path\na,b,c\n", "line 1: two columns are called 'path': rename one"),
        ("clip_id,,path\na,b,c\n", "line 1: column 2 has no name: name it, or remove it"),
        ("clip_id,path\na\n", r"line 2: 1 fields, expected 2 \(clip_id, path\): complete the line"),
        ('clip_id,path\n"a\nb",c\nd\n', "line 4: 1 fields"),
        ("clip_id,path\na,\n", "line 2, column path: is empty: fill it in, or remove the line"),
        ("clip_id,path\n,b\n", "line 2, column clip_id: is empty"),
        ("clip_id,path\na,1\nb,2\na,3\n", "line 4, column clip_id: a stands on line 2 as well: remove one"),
        ("clip_id,path,start_s\na,b,soon\n", "line 2, column start_s: 'soon' is not a number: correct it"),
        ("clip_id,path,end_s\na,b,nan\n", "line 2, column end_s: 'nan' is not a number"),
        (
            "clip_id,path,start_s,end_s\na,b,2,1\n",
            r"line 2, column start_s: .*stretch 2.0..1.0 s: must .*: correct the line",
        ),
        ("clip_id,path,track\na,b,1.5\n", "line 2, column track: '1.5' is not a whole number"),
    ],
)
def test_a_table_that_is_wrong_says_where_and_what_to_do(tmp_path: Path, text: str, message: str) -> None:
    table = put(tmp_path / "t.csv", text)
    with pytest.raises(CorpusError, match=message) as error:
        attach(CLIPS, "eeg", str(table))  # before the first clip is asked for
    assert str(error.value).startswith(str(table))


def test_a_source_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"gone\.csv: no such file: check the path"):
        attach(CLIPS, "eeg", str(tmp_path / "gone.csv"))
    (tmp_path / "t.csv").write_bytes(b"clip_id,path\n\xff\xfe,1\n")
    with pytest.raises(CorpusError, match="is not UTF-8 text .*: save it as CSV in UTF-8"):
        attach(CLIPS, "eeg", str(tmp_path / "t.csv"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(CorpusError, match=r"folder: holds no \*\.csv file: give a folder of files named by clip"):
        attach(CLIPS, "openface", str(tmp_path / "folder"))


@pytest.mark.slow
def test_a_bucket(s3: str) -> None:
    folder = Folder(f"{s3}/units")
    folder.write_text("a/01-01-03-01-01-01-02.csv", "x")
    folder.write_text("means.csv", "clip,AU01_r\n01-01-04-01-01-01-02,1\n")
    folder.write_text("paths.csv", f"clip_id,path\n{IDS[2]},a/x.csv\n")
    assert sort(CLIPS, "openface", f"{folder.uri}/a")[0] == {
        IDS[0]: Medium(path=f"{folder.uri}/a/01-01-03-01-01-01-02.csv")
    }
    assert sort(CLIPS, "openface", f"{folder.uri}/means.csv")[0] == {
        IDS[1]: Medium(path=f"{folder.uri}/means.csv#01-01-04-01-01-01-02")
    }
    assert sort(CLIPS, "openface", f"{folder.uri}/paths.csv")[0] == {IDS[2]: Medium(path=f"{folder.uri}/a/x.csv")}


def test_real_action_units_of_ravdess_are_found_by_both_ways(real_data: Path) -> None:
    from mien.corpora import ravdess

    units = real_data / "ravdess/action_units"
    records = list(ravdess.import_clips(real_data / "ravdess" / "speech_16k"))
    by_frame, _ = sort(records, "openface", units / "per_frame")
    means, rejects = sort(records, "openface", units / "clip_means.csv")
    assert (len(by_frame), len(means), rejects) == (300, 1440, [])
    assert set(by_frame) < set(means)
