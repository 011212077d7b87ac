"""AMI: meetings, seats and NXT annotations to clips and rejects, ratings by stretches of time, and what verify says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from breaking import n_segments
from conftest import REAL_DATA
from mien.cli.main import main
from mien.corpora import ami
from mien.corpora.ami import Settings
from mien.corpora.ami.inventory import MEETINGS, N_SEATS, OF_FIVE
from mien.corpora.ami.ratings import read_stretch_ratings
from mien.corpora.clip import Clip, Rating, Reject
from mien.corpora.sample import ami as sample
from mien.data.contents import Contents
from mien.data.leaks import check_leak
from mien.data.splits import make_splits
from mien.errors import CorpusError, ExperimentError, LeakError
from mien.experiment import ProtocolConfig
from mien.features.prepare import prepare
from tiny_ami import FILES, MEETING_XML, MEETINGS_TEXT, NXT, WORDS_A, act, nxt, put, segment, speaker

DATA = REAL_DATA / "ami"
TABLE = "meeting,participant,start_s,end_s,valence,arousal,annotator,low,high\n"


def without(*names: str) -> dict[str, str | bytes]:
    assert set(names) <= FILES.keys()
    return {name: content for name, content in FILES.items() if name not in names}


def read(root: Path, asked: Settings | None = None) -> tuple[list[Clip], list[Reject]]:
    records = list(ami.import_clips(root, asked))
    assert [record.id for record in records] == sorted(record.id for record in records)
    return [r for r in records if isinstance(r, Clip)], [r for r in records if isinstance(r, Reject)]


def rated(root: Path, rows: str, head: str = TABLE, **asked: object) -> tuple[list[Clip], list[Reject]]:
    table = root / "mine.csv"
    table.write_text(head + rows)
    return read(root, Settings(ratings=str(table), **asked))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return put(tmp_path, FILES)


# ------------------------------------------------------------------ clips


def test_an_utterance_is_a_stretch_of_the_headset_and_the_camera_of_its_seat(root):
    clips, rejects = read(root)
    assert rejects == []
    assert [clip.id for clip in clips] == [
        "ami/ES2002a.A.00001000-00002200",
        "ami/ES2002a.A.00010000-00012000",
        "ami/ES2002a.A.00020000-00021000",
        "ami/ES2002a.B.00001500-00004000",
    ]
    assert [clip.subject for clip in clips] == ["ami/MEE006"] * 3 + ["ami/FÉO072"]
    media = {name: (Path(m.path).name, m.start_s, m.end_s) for name, m in clips[0].media.items()}
    assert media == {"audio": ("ES2002a.Headset-1.wav", 1.0, 2.2), "video": ("ES2002a.Closeup4.avi", 1.0, 2.2)}
    assert Path(clips[3].media["audio"].path).name == "ES2002a.Headset-0.wav"
    assert Path(clips[3].media["video"].path).name == "ES2002a.Closeup1.avi"
    assert clips[0].groups == {"meeting": "ami/ES2002a", "series": "ami/ES2002"}
    assert clips[0].attributes == {
        "sex": "male",
        "age": "31",
        "native_language": "English",
        "english_region": "Scotland",
        "role": "PM",
        "meeting_kind": "scenario",
        "transcript": "Good morning",
    }
    assert "transcript" not in clips[3].attributes


def test_annotations_and_recordings_lie_anywhere_below_the_root_links_followed(tmp_path):
    put(tmp_path / "elsewhere", {name: content for name, content in FILES.items() if name.startswith(NXT)})
    put(tmp_path / "disk", {name: content for name, content in FILES.items() if not name.startswith(NXT)})
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").symlink_to(tmp_path / "elsewhere" / NXT)
    (tmp_path / "root" / "b").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "root")
    clips, rejects = read(tmp_path / "root")
    assert (len(clips), rejects) == (4, [])


def test_the_mix_is_one_recording_of_all(root):
    clips, _ = read(root, Settings(sound="mix"))
    assert {Path(clip.media["audio"].path).name for clip in clips} == {"ES2002a.Mix-Headset.wav"}


def test_windows_lie_on_one_grid_wherever_a_person_speaks(root):
    clips, rejects = read(root, Settings(unit="window", window_s=4, hop_s=2, least_s=0.5))
    stretches = {clip.subject: [] for clip in clips}
    for clip in clips:
        stretches[clip.subject].append((clip.media["audio"].start_s, clip.media["audio"].end_s))
    assert stretches["ami/MEE006"] == [(0, 4), (8, 12), (10, 14), (18, 21)]  # (0, 4), not (2, 6): it has 0.2 s
    assert stretches["ami/FÉO072"] == [(0, 4)]
    assert rejects == []


def test_a_segment_that_is_in_no_clip_is_a_reject_with_its_line(root):
    _, (reject,) = read(root, Settings(least_s=1.1))
    assert (reject.id, reject.reason) == ("ami/ES2002a.A", "too-short")
    assert reject.detail.startswith(
        f"{NXT}/segments/ES2002a.A.segments.xml, line 5: segment from 20 to 21 s is shorter"
    )
    _, rejects = read(root, Settings(unit="window", window_s=8, hop_s=8, least_s=1.1))
    assert [(r.reason, r.detail.split(": ")[0][-6:]) for r in rejects] == [("too-short", "line 5")]


@pytest.mark.parametrize(
    "asked", [{"window_s": 0}, {"hop_s": -1}, {"least_s": float("nan")}, {"unit": "x"}, {"sound": "x"}]
)
def test_settings_that_make_no_sense_are_refused(asked):
    with pytest.raises(ValueError, match=next(iter(asked))):
        Settings(**asked)


# ------------------------------------------------------------------ labels


def test_the_proxy_says_what_was_done_and_is_no_emotion(root):
    clips, _ = read(root)
    labels = [clip.label("proxy") for clip in clips]
    assert [label and (label.own, label.emotion, label.ratings["valence"].value) for label in labels] == [
        ("positive", None, 1.0),  # be.pos
        ("positive", None, 1.0),  # a laugh of no length
        ("negative", None, -1.0),  # be.neg; coughing is no laughter
        None,  # of this person no dialogue acts are annotated
    ]
    assert all(clip.label("annotated") is None for clip in clips)
    (window, *_), _ = read(root, Settings(unit="window", window_s=30, hop_s=30))
    label = window.label("proxy")
    assert label is not None
    assert (label.own, label.ratings["valence"].value) == ("mixed", pytest.approx(1 / 3))


def test_acts_are_known_by_their_numbers_where_the_ontology_is_not_there(tmp_path):
    clips, _ = read(put(tmp_path, without(f"{NXT}/ontologies/da-types.xml")))
    assert clips[0].label("proxy").own == "positive"


def test_ratings_are_the_mean_of_those_who_rated_half_of_the_clip_or_more(root):
    rows = [
        "ES2002a,MEE006,1.0,2.2,3,7,r1,1,9",
        "ES2002a,MEE006,0.0,2.2,5,,r2,,",  # holds the whole clip
        "ES2002a,MEE006,1.9,9.0,9,9,r3,,",  # holds 0.3 s of 1.2 s
        "ES2002a,MEE006,10,11,2,2,r1,,",
        "ES2002a,MEE006,11,11.5,5,5,r1,,",  # half as long as the line above, so it weighs half
    ]
    clips, rejects = rated(root, "\n".join(rows))
    first, second = (clip.label("annotated") for clip in clips[:2])
    assert first is not None
    assert first.ratings == {
        "valence": Rating(value=4, low=1, high=9, n_raters=2, agreement=first.ratings["valence"].agreement),
        "arousal": Rating(value=7, low=1, high=9),
    }
    assert first.ratings["valence"].agreement == pytest.approx(1 - 2 * 2 / ((10 * 4 - 16 - 9) * 2))
    assert second is not None
    assert second.ratings["valence"].value == pytest.approx((2 + 0.5 * 5) / 1.5)
    assert [clip.label("annotated") for clip in clips[2:]] == [None, None]
    (reject,) = rejects
    assert reject.reason == "unmatched-rating"
    assert "mine.csv, line 4: 1 lines overlap no clip" in reject.detail


def test_a_continuous_rating_is_the_mean_within_the_clip_and_says_where_it_is(root):
    rows = "\n".join(f"ES2002a,MEE006,{at},{at / 100},{who},-1,1" for who in "ab" for at in (0.9, 1.0, 2.0, 2.2, 11.0))
    clips, rejects = rated(root, rows, "meeting,participant,time_s,valence,annotator,low,high\n")
    rating = clips[0].label("annotated").ratings["valence"]
    assert (rating.value, rating.n_raters, rating.agreement) == (pytest.approx(0.015), 2, 1.0)
    assert rating.trace == f"{root / 'mine.csv'}#ES2002a/MEE006"
    assert clips[1].label("annotated").ratings["valence"].value == pytest.approx(0.11)
    assert "line 2: 4 lines overlap no clip" in rejects[0].detail  # at 0.9 and 2.2, of both


def test_ratings_of_people_who_were_not_there_are_counted(root):
    rows = ["ES2002a,MEE006,1,2,3,7,,1,9", "ES2002a,MEE007,1,2,3,7,,,", "ES2002b,MEE006,1,2,3,7,,,"]
    _, rejects = rated(root, "\n".join(rows))
    assert [(r.reason, re.search(r"line \d", r.detail)[0]) for r in rejects] == [
        ("unknown-meeting", "line 4"),
        ("unknown-participant", "line 3"),
    ]


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        ("ES2002a,MEE006,1,2,9.5,7,,1,9", TABLE, "line 2, column valence: 9.5 is off its scale of 1 to 9"),
        ("ES2002a,MEE006,2,1,5,7,,1,9", TABLE, "line 2, column end_s: 1 s is not after start_s"),
        ("ES2002a,MEE006,-2,1,5,7,,1,9", TABLE, "line 2, column start_s: -2 s is before the meeting"),
        ("ES2002a,MEE006,a,1,5,7,,1,9", TABLE, "line 2, column start_s: 'a' is not a number"),
        ("ES2002a,MEE006,,1,5,7,,1,9", TABLE, "line 2, column start_s: is empty"),
        ("ES2002a,MEE006,1,2,5,7,,,", TABLE, "column valence: its scale has no low end"),
        ("ES2002a,MEE006,1,2,5,7,r,1,9\nES2002a,MEE006,1,2,5,7,r,,", TABLE, "line 3, column valence: annotator 'r'"),
        ("ES2002b,MEE006,1,2,5,7,,1,9", TABLE, "line 2: none of its lines counts for a clip; 1 name meetings"),
        ("ES2002a,MEE006,30,32,5,7,,1,9", TABLE, "none of its lines counts for a clip; 1 overlap no clip"),
        (
            "a,b,1,2,1",
            "meeting,participant,start_s,end_s,valance\n",
            "unknown column 'valance': the nearest are valence, ",
        ),
        ("a,b,1,2", "meeting,participant,start_s,end_s\n", "no column of ratings: add valence or arousal"),
        ("a,1,2,1", "meeting,start_s,end_s,valence\n", "no column participant: add it"),
        ("a,b,1,1", "meeting,participant,start_s,valence\n", "no column end_s: add it"),
        ("a,b,1", "meeting,participant,valence\n", "need start_s and end_s, or time_s"),
        ("a,b,1,1,1,1", "meeting,participant,start_s,end_s,time_s,valence\n", "need start_s and end_s, or time_s"),
    ],
)
def test_a_table_of_ratings_that_is_wrong_is_an_error_with_the_remedy(root, rows, head, message):
    with pytest.raises(CorpusError, match=re.escape(message)) as error:
        rated(root, rows, head)
    assert str(error.value).startswith(str(root / "mine.csv"))


@pytest.mark.slow
def test_without_ratings_the_user_is_told_that_there_are_none(tmp_path):
    assert "AMI publishes none" in ami.note(None)
    assert "AMI publishes none" in ami.note(Settings())
    assert ami.note(Settings(ratings="mine.csv")) == ""
    root = put(tmp_path / "ami", FILES)
    (tmp_path / "mine.csv").write_text(TABLE + "ES2002a,MEE006,1,2,3,7,r1,1,9\n")
    for asked, expected in ((None, [ami.note(None)]), (Settings(ratings=str(tmp_path / "mine.csv")), [])):
        said: list[str] = []
        with pytest.raises(ExperimentError, match="no-such-feature"):  # it is told before anything is extracted
            prepare("ami", root, tmp_path / "store", ("no-such-feature",), settings=asked, on_note=said.append)
        assert said == expected


# ------------------------------------------------------------------ what cannot be used


def one(
    root: Path, files: dict[str, str | bytes], changed: dict[str, str | bytes] | None = None
) -> tuple[list[Clip], Reject]:
    clips, rejects = read(put(root, files | (changed or {})))
    (reject,) = rejects
    assert reject.stage == "import"
    return clips, reject


SEGMENTS_A, WORDS, ACTS = (
    f"{NXT}/{name}"
    for name in (
        "segments/ES2002a.A.segments.xml",
        "words/ES2002a.A.words.xml",
        "dialogueActs/ES2002a.A.dialog-act.xml",
    )
)


@pytest.mark.parametrize(
    ("gone", "n_clips", "id", "reason", "detail"),
    [
        (("amicorpus/ES2002a/audio/ES2002a.Headset-1.wav",), 4, "ES2002a.A", "missing-headset", "the clips of MEE006"),
        (("amicorpus/ES2002a/video/ES2002a.Closeup4.avi",), 4, "ES2002a.A", "missing-video", "Closeup4.avi is not"),
        (
            ("amicorpus/ES2002a/video/ES2002a.Closeup4.avi", "amicorpus/ES2002a/audio/ES2002a.Headset-1.wav"),
            *(1, "ES2002a.A", "no-media", "3 segments of MEE006 in ES2002a became no clip"),
        ),
        ((WORDS,), 4, "ES2002a.A", "missing-words", "words/ES2002a.A.words.xml: is not there"),
        ((SEGMENTS_A,), 1, "ES2002a.A", "missing-segments", "segments/ES2002a.A.segments.xml: is not there"),
        ((f"{NXT}/corpusResources/participants.xml",), 4, "", "missing-participants", "clips go without age"),
    ],
)
def test_what_is_missing_is_a_reject_and_the_rest_is_used(tmp_path, gone, n_clips, id, reason, detail):
    clips, reject = one(tmp_path, without(*gone))
    assert (len(clips), reject.id, reject.reason) == (n_clips, f"ami/{id}".rstrip("/"), reason)
    assert detail in reject.detail


def test_without_any_camera_sound_alone_was_meant(tmp_path):
    clips, rejects = read(put(tmp_path, {name: text for name, text in FILES.items() if "Closeup" not in name}))
    assert rejects == []
    assert {tuple(clip.media) for clip in clips} == {("audio",)}


def test_a_meeting_that_was_not_downloaded_is_one_reject_with_its_segments(tmp_path):
    other = {f"{NXT}/segments/ES2002b.{seat}.segments.xml": nxt(segment(1, 2), segment(3, 4)) for seat in "AB"}
    meetings = MEETINGS_TEXT.replace("</nite:root>", "") + MEETINGS_TEXT.partition('nite.sourceforge.net/">\n')[
        2
    ].replace("ES2002a", "ES2002b")
    clips, reject = one(tmp_path, FILES, {MEETING_XML: meetings, **other})
    assert (len(clips), reject.id, reject.reason) == (4, "ami/ES2002b", "no-media")
    assert "4 segments of ES2002b became no clip" in reject.detail


@pytest.mark.parametrize(
    ("name", "text", "n_clips", "reason", "detail"),
    [
        (SEGMENTS_A, nxt(segment(1, 2))[:-40], 1, "broken-xml", "segments.xml: line 3: unclosed token"),
        (WORDS, WORDS_A[:300], 4, "broken-xml", "words.xml: line 5: "),
        (ACTS, nxt("<dact>"), 4, "broken-xml", "dialog-act.xml: line 4: mismatched tag"),
        (SEGMENTS_A, nxt(segment(2, 1)), 1, "bad-times", "line 3: segment from '2' to '1' s: it must end after"),
        (SEGMENTS_A, nxt(segment(2, 2)), 1, "bad-times", "line 3: "),
        (SEGMENTS_A, nxt(segment(-1, 2)), 1, "bad-times", "line 3: "),
        (SEGMENTS_A, nxt(segment("nan", 2)), 1, "bad-times", "line 3: "),
        (SEGMENTS_A, nxt(segment(1, "inf")), 1, "bad-times", "line 3: "),
        (SEGMENTS_A, nxt("<segment/>"), 1, "bad-times", "line 3: segment from '' to ''"),
        (SEGMENTS_A, nxt(segment(3, 5), segment(1, 4)), 2, "overlapping-segments", "line 3: segment from 3 to 5 s overlaps"),
        (SEGMENTS_A, nxt(segment(1, 2), segment(1, 2)), 2, "overlapping-segments", "line 4: segment from 1 to 2 s overlaps"),
        (ACTS, nxt(act("ami_da_14", "w0", "w9")), 4, "broken-reference", "line 3: dialogue act 'd': points to ES2002a.A.w0"),
        (ACTS, nxt(act("ami_da_14", "w3", "w3")), 4, "broken-reference", "points to no word that has a time"),
        (ACTS, nxt(act("ami_da_14", "w2", "w0")), 4, "broken-reference", "points to no word that has a time"),
        (ACTS, nxt(act("ami_da_14", "w0", "w2", "../ES2002a.A")), 4, "broken-reference", "points into '../ES2002a.A.words"),
        (ACTS, nxt('<dact><nite:pointer role="da-aspect" href="x"/></dact>'), 4, "broken-reference", "href 'x' is not"),
        (f"{NXT}/segments/ES2002a.C.segments.xml", nxt(segment(1, 2)), 4, "unknown-speaker", "1 segments of a seat"),
        (f"{NXT}/segments/ES2009z.A.segments.xml", "<a>", 4, "unknown-speaker", "0 segments (and 1 broken files) of a"),
        ("x/ES2002a.Headset-3.wav", "x", 4, "unassigned", "gives Headset-3 to nobody in ES2002a"),
        ("x/ES2002b.Headset-0.wav", "x", 4, "unknown-meeting", "no meeting of this name in meetings.xml"),
        ("x/ES2002a.Headset-1.wav", "x", 4, "duplicate", "same recording as"),
        ("x/ES2002a.Headset-1.avi", "x", 4, "wrong-suffix", "Headset-1 is expected as .wav"),
        ("x/ES2002a.Closeup1.mp4", "x", 4, "wrong-suffix", "Closeup1 is expected as .avi"),
        ("x/interview.wav", "x", 4, "bad-name", "expected MEETING.SIGNAL"),
    ],
)  # fmt: skip
def test_what_is_broken_is_a_reject_with_file_line_and_reason(tmp_path, name, text, n_clips, reason, detail):
    clips, reject = one(tmp_path, FILES, {name: text})
    assert (len(clips), reject.reason) == (n_clips, reason)
    assert detail in reject.detail
    assert reject.detail.startswith(str(Path(reject.path).relative_to(tmp_path)))


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        ('nxt_agent="A"', 'nxt_agent="../A"', {"bad-speaker": 1, "unknown-speaker": 1, "unassigned": 2}),
        ('channel="1"', 'channel="../1"', {"bad-speaker": 1, "unknown-speaker": 1, "unassigned": 2}),
        ('camera="Closeup4"', 'camera="../Closeup4"', {"bad-speaker": 1, "unknown-speaker": 1, "unassigned": 2}),
        ('global_name="MEE006"', 'global_name="../x"', {"bad-speaker": 1, "unknown-speaker": 1, "unassigned": 2}),
        ('global_name="MEE006"', 'global_name="MEE999"', {"unknown-participant": 1}),
        ('nxt_agent="B"', 'nxt_agent="A"', {"bad-speaker": 1, "unknown-speaker": 1, "unassigned": 2}),
        ('observation="ES2002a"', 'observation="../ES2002a"', {"bad-meeting": 1, "unknown-meeting": 5, "unknown-speaker": 2}),
        (' camera="Closeup4"', "", {"unassigned": 1}),
    ],
)  # fmt: skip
def test_an_entry_of_meetings_xml_that_names_no_seat_is_a_reject(tmp_path, old, new, reasons):
    _, rejects = read(put(tmp_path, FILES | {MEETING_XML: MEETINGS_TEXT.replace(old, new)}))
    assert Counter(reject.reason for reject in rejects) == reasons
    first = next((r for r in rejects if "meetings.xml, line" in r.detail), rejects[0])
    assert first.reason == next(iter(reasons))


def test_without_annotations_each_recording_says_what_it_lacks(root):
    clips, rejects = read(root / "amicorpus")
    assert clips == []
    assert Counter(reject.reason for reject in rejects) == {"no-annotations": 5}
    assert "unpack the manual annotations there" in rejects[0].detail


def test_what_nothing_can_do_without_is_an_error(root):
    for name in ("corpusResources/meetings.xml", "corpusResources/participants.xml", "ontologies/da-types.xml"):
        whole = (root / NXT / name).read_bytes()
        (root / NXT / name).write_bytes(whole[:-20])
        with pytest.raises(CorpusError, match=rf"{name}: line \d+: .*: unpack the annotations again"):
            read(root)
        (root / NXT / name).write_bytes(whole)
    put(root, {"copy/corpusResources/meetings.xml": MEETINGS_TEXT})
    with pytest.raises(CorpusError, match="two folders of annotations below it"):
        read(root)


# ------------------------------------------------------------------ verify


def found(root: Path) -> dict[str, str]:
    """What verify finds, to the first detail of it."""
    verified = ami.verify(root)
    assert verified.corpus == "ami"
    details: dict[str, str] = {}
    for finding in verified.findings:
        details.setdefault(f"{finding.severity} {finding.what}", finding.detail)
    return details


def riff(kind: bytes, n_bytes: int = 40) -> bytes:
    return b"RIFF" + (n_bytes - 8).to_bytes(4, "little") + kind + bytes(n_bytes - 12)


def recordings() -> dict[str, str | bytes]:
    names = [f"audio/ES2002a.Headset-{number}.wav" for number in range(4)]
    names += ["audio/ES2002a.Mix-Headset.wav", "video/ES2002a.Closeup1.avi", "video/ES2002a.Closeup4.avi"]
    return {
        f"amicorpus/ES2002a/{name}": riff(b"AVI " if name.endswith("avi") else b"WAVE", 40 + 2 * number)
        for number, name in enumerate(names)
    }


def test_the_known_meetings_are_as_many_as_published():
    assert len(MEETINGS) == len(set(MEETINGS)) == 171
    assert set(OF_FIVE) < set(MEETINGS)
    assert N_SEATS == 687
    if (DATA / "excerpts.txt").is_file():
        assert f"{N_SEATS} words files" in (DATA / "excerpts.txt").read_text()


def test_one_meeting_that_is_whole_is_intact_and_what_is_not_known_is_said(tmp_path):
    put(tmp_path, FILES | recordings())
    verified = ami.verify(tmp_path)
    assert verified.intact
    assert verified.counts == {
        "headset": (4, 687),
        "mix": (1, 171),
        "closeup, by meetings.xml": (2, 2),
        "words": (2, 687),
        "meetings with dialogue acts": (1, 139),
    }
    details = found(tmp_path)
    assert details["info not-downloaded"].startswith("170 of 171 meetings")
    assert "are not known here" in details["info not-known"]


def test_what_a_meeting_lacks_is_found(tmp_path):
    put(tmp_path, FILES | recordings())
    media = tmp_path / "amicorpus" / "ES2002a"
    (media / "audio" / "ES2002a.Headset-2.wav").unlink()
    (media / "video" / "ES2002a.Closeup4.avi").unlink()
    (media / "audio" / "ES2002a.Mix-Headset.wav").write_bytes(riff(b"WAVE")[:-1])
    (media / "video" / "ES2002a.Closeup1.avi").write_bytes(riff(b"AVI ")[:-2])
    (media / "audio" / "ES2002a.Headset-0.wav").write_bytes((media / "audio" / "ES2002a.Headset-1.wav").read_bytes())
    (tmp_path / WORDS).unlink()
    (tmp_path / SEGMENTS_A).write_bytes((tmp_path / SEGMENTS_A).read_bytes()[:-5])
    (tmp_path / ACTS).unlink()
    details = found(tmp_path)
    assert "ES2002a.Headset-2.wav is missing" in details["error missing"]
    assert "ES2002a lacks Closeup4" in details["warning missing-video"]
    cut = {Path(finding.path).name for finding in ami.verify(tmp_path).findings if finding.what == "truncated"}
    assert cut == {"ES2002a.Mix-Headset.wav", "ES2002a.Closeup1.avi"}
    assert "byte-identical with" in details["warning byte-identical"]
    assert "ES2002a lacks ES2002a.A.words.xml" in details["error missing-words"]
    assert "line 6" in details["error broken-xml"]
    assert "1 of 1 meetings have no dialogue acts" in details["info no-dialogue-acts"]


def test_annotations_that_are_missing_or_broken_are_found(tmp_path):
    put(tmp_path, recordings())
    assert "nothing can be imported" in found(tmp_path)["error no-annotations"]
    put(tmp_path, {MEETING_XML: MEETINGS_TEXT[:-9]})
    assert "meetings.xml: line 7: " in found(tmp_path)["error broken-xml"]
    put(tmp_path, {MEETING_XML: MEETINGS_TEXT.replace("ES2002a", "ES2002b")})
    assert "meetings.xml does not know it" in found(tmp_path)["error unknown-meeting"]


# ------------------------------------------------------------------ real lines


@pytest.mark.skipif(not DATA.is_dir(), reason="real lines of AMI are in shared/data, which is not here")
def test_real_lines_are_read_as_the_corpus_means_them(tmp_path):
    """The excerpts: words of no length, a first dialogue act of 77.44 to 80.87 s, and da-types.xml whole."""
    text = (DATA / "excerpts.txt").read_text()
    words = re.findall(r"^<(?:w|vocalsound) .*$", text, re.MULTILINE)
    assert len(words) == 3
    seat = "ES2002a.A"
    act_text = text[text.index("   <dact") : text.index("</dact>") + 7].replace("words12", "words1")
    of_a = nxt(
        f'<w nite:id="{seat}.words0" starttime="77.44" endtime="77.74">Hi</w>',
        f'<w nite:id="{seat}.words1" starttime="80.5" endtime="80.87">.</w>',
    )
    put(
        tmp_path,
        FILES
        | {
            f"{NXT}/words/ES2002a.B.words.xml": nxt(*words),
            f"{NXT}/segments/ES2002a.B.segments.xml": nxt(segment("50.0", "56.0")),
            f"{NXT}/segments/ES2002a.A.segments.xml": nxt(segment("77.408", "80.955")),
            WORDS: of_a,
            ACTS: nxt(act_text, act_text.replace("ami_da_4", "ami_da_14")),
            f"{NXT}/ontologies/da-types.xml": (DATA / "da-types.xml").read_bytes(),
        },
    )
    (of_a_clip, of_b), rejects = read(tmp_path)
    assert rejects == []
    assert of_b.attributes["transcript"] == "Okay"
    assert of_a_clip.id == "ami/ES2002a.A.00077408-00080955"
    assert of_a_clip.label("proxy").own == "positive"


@pytest.mark.skipif(not DATA.is_dir(), reason="real turns of AMI are in shared/data, which is not here")
@pytest.mark.parametrize("part", ["train", "development", "test"])
def test_turns_of_real_meetings_become_clips_or_rejects(tmp_path, part):
    """Speaker turns that others took from AMI: people with accents in their names, who speak at once."""
    turns = [line.split() for line in (DATA / f"debug.{part}.rttm").read_text("utf-8").splitlines()]
    meetings = sorted({turn[1] for turn in turns})
    people = {name: sorted({turn[7] for turn in turns if turn[1] == name}) for name in meetings}
    files: dict[str, str | bytes] = {}
    described = []
    for number, name in enumerate(meetings):
        meeting = f"EN{2001 + number}a"
        described.append(f'<meeting observation="{meeting}">')
        for place, person in enumerate(people[name]):
            letter = "ABCDE"[place]
            described.append(speaker(letter, person, str(place), ""))
            files[f"amicorpus/{meeting}.Headset-{place}.wav"] = b"x"
            of_person = [(float(t[3]), float(t[3]) + float(t[4])) for t in turns if (t[1], t[7]) == (name, person)]
            spoken = [segment(f"{start:.3f}", f"{end:.3f}") for start, end in of_person]
            files[f"{NXT}/segments/{meeting}.{letter}.segments.xml"] = nxt(*spoken)
            files[f"{NXT}/words/{meeting}.{letter}.words.xml"] = nxt()
        described.append("</meeting>")
    files[MEETING_XML] = nxt(*described)
    clips, rejects = read(put(tmp_path, files))
    assert n_segments(clips, rejects) == len(turns)
    assert {clip.subject for clip in clips} <= {f"ami/{turn[7]}" for turn in turns}
    assert sum(clip.media["audio"].end_s - clip.media["audio"].start_s for clip in clips) > 0


# ------------------------------------------------------------------ splits


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The annotations of a sample of three series, with empty recordings."""
    root = tmp_path_factory.mktemp("planned")
    takes = sample.takes(12, 1, seed=0)
    sample.write_annotations(root, takes)
    for take in takes:
        names = [f"Headset-{take.headset}.wav", "Mix-Headset.wav", f"Closeup{take.camera}.avi"]
        put(root, {f"amicorpus/{take.meeting}.{name}": b"x" for name in names})
    return root


def split_up(clips: list[Clip], medium: str, protocol: ProtocolConfig) -> int:
    """How many folds there are, each checked for leaks, as a store of one medium would give them."""
    files = sorted({clip.media[medium].path for clip in clips})
    contents = Contents.of(
        len(clips),
        range(len(clips)),
        [str(files.index(clip.media[medium].path)) for clip in clips],
        [clip.media[medium].start_s for clip in clips],
        [clip.media[medium].end_s for clip in clips],
    )
    columns = {
        "clip_ids": [clip.id for clip in clips],
        "subjects": [clip.subject for clip in clips],
        "copies": contents.copies(),
        "overlaps": contents.overlaps(),
        "groups": {name: [clip.groups[name] for clip in clips] for name in ("meeting", "series")},
    }
    strata = np.zeros(len(clips), np.int64)
    splits = make_splits(**columns, corpora=["ami"] * len(clips), strata=strata, protocol=protocol)
    for split in splits:
        check_leak(split, **columns, protocol=protocol)
    return len(splits)


BY_MEETING = ProtocolConfig(kind="by-group", group="meeting", folds=3)


@pytest.mark.parametrize("asked", [Settings(), Settings(unit="window", window_s=3, hop_s=1)])
@pytest.mark.parametrize("medium", ["audio", "video"])
def test_by_subject_and_by_meeting_hold_for_headsets_and_cameras(planned, asked, medium):
    """Windows of a person overlap and stay with this person; meetings of a series share their people."""
    clips, rejects = read(planned, asked)
    assert rejects == []
    assert len({clip.subject for clip in clips}) == 12
    assert split_up(clips, medium, ProtocolConfig(folds=4)) == 4
    assert split_up(clips, medium, BY_MEETING) == 3
    assert split_up(clips, medium, ProtocolConfig(kind="random-leaky", folds=2)) == 2


def test_by_subject_is_refused_for_the_mix_and_by_meeting_holds(planned):
    clips, _ = read(planned, Settings(sound="mix"))
    with pytest.raises(LeakError, match="Each pair shares a meeting: choose protocol.kind=by-group"):
        split_up(clips, "audio", ProtocolConfig(folds=4))
    assert split_up(clips, "audio", BY_MEETING) == 3


# ------------------------------------------------------------------ cost


def test_what_ami_costs_says_that_its_size_is_assumed(capsys):
    assert main(["cost", "--corpus", "ami"]) == 0
    assert "100 hours of four people, assumed to be extracted whole" in " ".join(capsys.readouterr().out.split())


def test_a_rating_table_knows_whose_line_was_used(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE + "ES2002a,MEE006,1,2,3,7,r1,1,9\nES2002a,MEE006,5,6,3,7,r1,,\n")
    ratings = read_stretch_ratings(str(tmp_path / "t.csv"))
    assert ratings.label("ES2002a", "MEE006", 0.5, 1.5) is not None
    assert ratings.used == {2}
    assert ratings.label("ES2002a", "MEE006", 2.0, 3.0) is None
