"""CREMA-D: files and tables to clips with four labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.corpora import cremad
from mien.corpora.clip import Clip, Reject
from mien.corpora.inventory import read_facts
from mien.errors import CorpusError

DEMOGRAPHICS = '"ActorID","Age","Sex","Race","Ethnicity"\n1001,51,"Male","Caucasian","Not Hispanic"\n'
SUMMARY = (
    '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"\n'
    '"1","1001_IEO_ANG_HI","N:S","60","A","70","A","80"\n'
)
VOTES = (
    '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote","meanEmoResp"\n'
    '"100001",0,0,0,0,5,5,"1001_IEO_ANG_HI",10,0.5,"N:S",60\n'
    '"200001",6,1,0,0,1,0,"1001_IEO_ANG_HI",8,0.75,"A",70\n'
    '"300001",9,0,0,0,0,0,"1001_IEO_ANG_HI",9,1,"A",80\n'
)


def put(root: Path, *names: str, content: bytes = b"x") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def put_tables(root: Path, demographics: str = "", summary: str = "", votes: str = "") -> None:
    tables = {cremad.DEMOGRAPHICS: demographics, cremad.SUMMARY: summary, cremad.VOTES: votes}
    for name, text in tables.items():
        if text:
            put(root, name, content=text.encode())


def sort(root: Path) -> tuple[list[Clip], list[Reject]]:
    records = list(cremad.import_clips(root))
    return [r for r in records if isinstance(r, Clip)], [r for r in records if isinstance(r, Reject)]


def test_a_clip_has_its_media_four_labels_and_its_actor(tmp_path: Path) -> None:
    stem = "1001_IEO_ANG_HI"
    put(tmp_path, f"AudioWAV/{stem}.wav", f"AudioMP3/{stem}.mp3", f"VideoFlash/{stem}.flv")
    put_tables(tmp_path, DEMOGRAPHICS, SUMMARY, VOTES)
    (clip,), rejects = sort(tmp_path)
    assert rejects == []
    assert (clip.id, clip.subject) == (f"cremad/{stem}", "cremad/1001")
    assert {m: Path(medium.path).suffix for m, medium in clip.media.items()} == {"audio": ".wav", "video": ".flv"}
    assert [(label.source, label.own, label.emotion) for label in clip.labels] == [
        ("intended", "ANG", "anger"),
        ("perceived-voice", "N:S", None),
        ("perceived-face", "A", "anger"),
        ("perceived-both", "A", "anger"),
    ]
    assert dict(clip.labels[0].votes) == {}
    voice, face = clip.labels[1].votes, clip.labels[2].votes
    assert voice == pytest.approx({"anger": 0, "disgust": 0, "fear": 0, "happiness": 0, "neutral": 0.5, "sadness": 0.5})
    assert (face["anger"], face["disgust"], sum(face.values())) == pytest.approx((0.75, 0.125, 1))
    assert clip.attributes == {
        "channel": "speech",
        "intensity": "high",
        "statement": "It's eleven o'clock",
        "age": "51",
        "sex": "male",
        "race": "Caucasian",
        "ethnicity": "Not Hispanic",
    }


# Cao et al. 2014 and the README of github.com/CheyneyComputerScience/CREMA-D, copied out by hand.
EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
VOTES_OF_LETTER = {
    "A": "anger",
    "D": "disgust",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "S": "sadness",
}


def only_clip(tmp_path: Path, stem: str) -> Clip:
    put(tmp_path, f"AudioWAV/{stem}.wav")
    (clip,), rejects = sort(tmp_path)
    assert rejects == []
    return clip


@pytest.mark.parametrize("code", EMOTIONS)
def test_each_emotion_code_has_its_published_word(tmp_path: Path, code: str) -> None:
    (label,) = only_clip(tmp_path, f"1001_IEO_{code}_XX").labels
    assert (label.source, label.own, label.emotion) == ("intended", code, EMOTIONS[code])


@pytest.mark.parametrize("code", LEVELS)
def test_each_level_code_has_its_published_word(tmp_path: Path, code: str) -> None:
    assert only_clip(tmp_path, f"1001_IEO_ANG_{code}").attributes["intensity"] == LEVELS[code]


@pytest.mark.parametrize("code", SENTENCES)
def test_each_sentence_code_has_its_published_words_and_is_a_group(tmp_path: Path, code: str) -> None:
    clip = only_clip(tmp_path, f"1001_{code}_ANG_XX")
    assert clip.attributes["statement"] == SENTENCES[code]
    assert clip.groups == {"statement": f"cremad/{code}"}


def test_the_first_digit_of_a_row_of_votes_is_what_the_raters_were_given_and_letters_are_emotions(
    tmp_path: Path,
) -> None:
    """1 the voice, 2 the face, 3 both; each letter wins once in each."""
    put(tmp_path, *(f"AudioWAV/10{number + 1:02}_IEO_ANG_HI.wav" for number in range(6)))
    header = '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote","meanEmoResp"'
    conditions = {"1": "perceived-voice", "2": "perceived-face", "3": "perceived-both"}
    rows = []
    for shift, digit in enumerate(conditions):
        for number in range(6):
            winner = (number + shift) % 6
            counts = ",".join("7" if place == winner else "1" for place in range(6))
            rows.append(f'"{digit}{number:05}",{counts},"10{number + 1:02}_IEO_ANG_HI",12,0.58,"{"ADFHNS"[winner]}",60')
    put(tmp_path, cremad.VOTES, content="\n".join([header, *rows, ""]).encode())
    clips, _ = sort(tmp_path)
    for number, clip in enumerate(clips):
        for shift, source in enumerate(conditions.values()):
            label = clip.label(source)
            assert label is not None
            letter = "ADFHNS"[(number + shift) % 6]
            assert (label.own, label.emotion) == (letter, VOTES_OF_LETTER[letter])
            expected = {emotion: (7 if key == letter else 1) / 12 for key, emotion in VOTES_OF_LETTER.items()}
            assert label.votes == pytest.approx(expected)


def test_each_column_of_the_summary_is_what_the_raters_were_given(tmp_path: Path) -> None:
    put(tmp_path, "AudioWAV/1001_IEO_ANG_HI.wav")
    put_tables(tmp_path, summary=SUMMARY.replace('"N:S","60","A","70","A","80"', '"F","60","H","70","D","80"'))
    (clip,), _ = sort(tmp_path)
    assert [(label.source, label.emotion) for label in clip.labels[1:]] == [
        ("perceived-voice", "fear"),
        ("perceived-face", "happiness"),
        ("perceived-both", "disgust"),
    ]


def test_no_code_is_known_beside_the_published_ones() -> None:
    assert list(cremad.ACTORS) == [str(actor) for actor in range(1001, 1092)]
    assert cremad.SENTENCES.keys() == SENTENCES.keys()
    assert cremad.LEVELS.keys() == LEVELS.keys()
    for code in ("SUR", "CAL", "ang", ""):
        with pytest.raises(ValueError, match="unknown emotion"):
            cremad.clip_id(f"1001_IEO_{code}_XX")


@pytest.mark.parametrize(
    ("folders", "audio", "video"),
    [
        (("AudioWAV",), ".wav", None),
        (("AudioMP3",), ".mp3", None),
        (("VideoFlash",), ".flv", ".flv"),
        (("AudioMP3", "VideoFlash"), ".mp3", ".flv"),
    ],
)
def test_media_without_tables_give_intended_labels(
    tmp_path: Path, folders: tuple[str, ...], audio: str, video: str | None
) -> None:
    put(tmp_path, *(f"{folder}/1002_DFA_SAD_XX{cremad.FOLDERS[folder]}" for folder in folders))
    (clip,), _ = sort(tmp_path)
    suffixes = {m: Path(medium.path).suffix for m, medium in clip.media.items()}
    assert suffixes == {"audio": audio} | ({"video": video} if video else {})
    assert [label.source for label in clip.labels] == ["intended"]
    assert "sex" not in clip.attributes


def test_summary_alone_gives_majorities_without_shares(tmp_path: Path) -> None:
    put(tmp_path, "AudioWAV/1001_IEO_ANG_HI.wav")
    put_tables(tmp_path, summary=SUMMARY)
    (clip,), _ = sort(tmp_path)
    assert [(label.own, label.emotion, dict(label.votes)) for label in clip.labels[1:]] == [
        ("N:S", None, {}),
        ("A", "anger", {}),
        ("A", "anger", {}),
    ]


@pytest.mark.parametrize(
    ("name", "reason", "detail"),
    [
        ("AudioWAV/1001_IEO_ANG.wav", "bad-name", "3 fields, expected 4 (actor_sentence_emotion_level)"),
        ("AudioWAV/1092_IEO_ANG_HI.wav", "bad-name", "unknown actor '1092', expected 1001..1091"),
        ("AudioWAV/1001_ABC_ANG_HI.wav", "bad-name", "unknown sentence 'ABC'"),
        ("AudioWAV/1001_IEO_SUR_HI.wav", "bad-name", "unknown emotion 'SUR'"),
        ("AudioWAV/1001_IEO_ANG_X.wav", "bad-name", "unknown level 'X', expected one of LO MD HI XX"),
        ("AudioWAV/1001_IEO_ANG_HI.mp3", "wrong-suffix", "AudioWAV holds .wav files"),
        ("VideoMP4/1001_IEO_ANG_HI.mp4", "wrong-folder", "expected in one of AudioWAV, AudioMP3, VideoFlash"),
    ],
)
def test_a_misnamed_file_is_a_reject_that_says_why(tmp_path: Path, name: str, reason: str, detail: str) -> None:
    put(tmp_path, name)
    clips, (reject,) = sort(tmp_path)
    assert clips == []
    assert (reject.id, reject.stage, reject.reason) == (name, "import", reason)
    assert detail in reject.detail


def test_an_empty_wav_gives_way_to_the_mp3(tmp_path: Path) -> None:
    put(tmp_path, "AudioWAV/1076_MTI_SAD_XX.wav", content=b"")
    put(tmp_path, "AudioMP3/1076_MTI_SAD_XX.mp3")
    (clip,), (reject,) = sort(tmp_path)
    assert Path(clip.media["audio"].path).suffix == ".mp3"
    assert (reject.id, reject.reason) == (clip.id, "empty")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"votes": VOTES.replace('"emoVote"', '"vote"')}, "line 2 has no emoVote"),
        ({"votes": VOTES[: VOTES.index(',9,1,"A",80')]}, "line 4 has no emoVote"),
        ({"votes": VOTES.replace(",9,0,0,0,0,0,", ",0,0,0,0,0,0,")}, "row '300001' is not a count of votes"),
        ({"votes": VOTES.replace('"300001"', '"400001"')}, "row '400001' is not a count of votes"),
        ({"summary": SUMMARY.replace("FaceVote", "Face")}, "line 2 has no FaceVote"),
        ({"demographics": DEMOGRAPHICS.replace('"Sex",', "")}, "line 2 has no Sex"),
    ],
)
def test_a_broken_table_is_an_error_with_the_remedy(tmp_path: Path, tables: dict[str, str], message: str) -> None:
    put(tmp_path, "AudioWAV/1001_IEO_ANG_HI.wav")
    put_tables(tmp_path, **tables)
    with pytest.raises(CorpusError, match=f"{message}.*download it again"):
        cremad.import_clips(tmp_path)


def test_a_table_of_zeros_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    put(tmp_path, "AudioWAV/1001_IEO_ANG_HI.wav")
    put(tmp_path, cremad.VOTES, content=b"\xff\xfe\x00" * 40)
    with pytest.raises(CorpusError, match="cannot be read as a table"):
        cremad.import_clips(tmp_path)


def test_manifest_holds_every_published_file() -> None:
    rows = read_facts("cremad_manifest.csv.gz")
    assert len({cremad.clip_id(row["stem"]) for row in rows}) == cremad.CARD.n_clips
    assert all(len(row[f"{folder}_sha256"]) == 64 for row in rows for folder in cremad.FOLDERS)
    # Sum of the sizes in the manifest that the table was packed from.
    assert sum(int(row["VideoFlash_bytes"]) for row in rows) == 2_443_021_141


def test_verify_finds_wrong_sizes_hashes_and_short_tables(tmp_path: Path) -> None:
    row = next(r for r in read_facts("cremad_manifest.csv.gz") if r["stem"] == "1001_DFA_ANG_XX")
    put(tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav", content=bytes(int(row["AudioWAV_bytes"])))
    put(tmp_path, "AudioMP3/1001_DFA_ANG_XX.mp3", content=bytes(int(row["AudioMP3_bytes"]) - 1))
    put(tmp_path, "AudioMP3/1001_DFA_ANG_HI.mp3")
    put_tables(tmp_path, DEMOGRAPHICS)
    asked: list[tuple[int, int]] = []
    found = cremad.verify(tmp_path, lambda n_done, n: asked.append((n_done, n)))
    assert not found.intact
    assert asked == [(1, 1)]
    findings = [f for f in found.findings if f.what not in ("missing", "not-downloaded")]
    assert {(f.what, Path(f.path).name) for f in findings} == {
        ("hash", "1001_DFA_ANG_XX.wav"),
        ("size", "1001_DFA_ANG_XX.mp3"),
        ("unexpected", "1001_DFA_ANG_HI.mp3"),
        ("rows", "VideoDemographics.csv"),
    }
    assert found.counts["AudioWAV"] == (1, 7442)
    assert found.counts["VideoFlash"] == (0, 7442)
    assert found.counts[cremad.DEMOGRAPHICS] == (1, 91)


@pytest.mark.slow
def test_real_tables_label_every_clip(real_data: Path, tmp_path: Path) -> None:
    put(tmp_path, *(f"AudioWAV/{row['stem']}.wav" for row in read_facts("cremad_manifest.csv.gz")))
    for name in (cremad.DEMOGRAPHICS, cremad.SUMMARY, cremad.VOTES):
        put(tmp_path, name, content=(real_data / "cremad" / name).read_bytes())
    clips, rejects = sort(tmp_path)
    assert rejects == []
    assert len(clips) == 7442
    assert len({clip.subject for clip in clips}) == 91
    n_ties = {}
    for source in cremad.CONDITIONS.values():
        labels = [label for clip in clips if (label := clip.label(source))]
        assert len(labels) == 7442
        assert all(abs(sum(label.votes.values()) - 1) < 1e-9 for label in labels)
        n_ties[source] = sum(label.emotion is None for label in labels)
        # The table's majority is the largest share.
        for label in labels:
            most = max(label.votes.values())
            assert [e[0].upper() for e, share in label.votes.items() if share == most] == label.own.split(":")
    assert n_ties == {"perceived-voice": 644, "perceived-face": 470, "perceived-both": 420}
