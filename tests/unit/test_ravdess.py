"""RAVDESS: which file becomes which clip, and what becomes of every other file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mien.corpora import ravdess
from mien.corpora.clip import Clip, Reject
from mien.errors import CorpusError

AUDIO, VIDEO = "Audio_Speech_Actors_01-24/Actor_{0}", "Video_Speech_Actor_{0}/Actor_{0}"


def put(root: Path, *names: str, content: bytes = b"x") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def sort(root: Path) -> tuple[list[Clip], list[Reject]]:
    records = list(ravdess.import_clips(root))
    return [r for r in records if isinstance(r, Clip)], [r for r in records if isinstance(r, Reject)]


def only_reject(root: Path) -> Reject:
    clips, rejects = sort(root)
    assert clips == []
    assert len(rejects) == 1
    assert rejects[0].stage == "import"
    return rejects[0]


def test_three_modalities_of_one_performance_are_one_clip(tmp_path: Path) -> None:
    av, vo, ao = (f"{modality}-01-05-02-02-01-12" for modality in ("01", "02", "03"))
    put(
        tmp_path,
        f"{VIDEO.format(12)}/{av}.mp4",
        f"{VIDEO.format(12)}/{vo}.mp4",
        f"{AUDIO.format(12)}/{ao}.wav",
    )
    clips, rejects = sort(tmp_path)
    assert rejects == []
    (clip,) = clips
    assert (clip.id, clip.subject, clip.corpus) == ("ravdess/01-05-02-02-01-12", "ravdess/12", "ravdess")
    assert [Path(clip.media[m].path).name for m in ("audio", "video")] == [f"{ao}.wav", f"{av}.mp4"]
    (label,) = clip.labels
    assert (label.source, label.own, label.emotion) == ("intended", "angry", "anger")
    assert clip.attributes == {
        "channel": "speech",
        "intensity": "strong",
        "statement": "Dogs are sitting by the door",
        "repetition": "1",
        "sex": "female",
    }
    assert not clip.synthetic


@pytest.mark.parametrize(
    ("modalities", "audio", "video"),
    [
        (("01", "02"), "01", "01"),
        (("02", "03"), "03", "02"),
        (("01",), "01", "01"),
        (("02",), None, "02"),
        (("03",), "03", None),
    ],
)
def test_each_medium_comes_from_the_best_file_there_is(
    tmp_path: Path, modalities: tuple[str, ...], audio: str | None, video: str | None
) -> None:
    for modality in modalities:
        put(tmp_path, f"Actor_01/{modality}-02-03-01-01-01-01.{'wav' if modality == '03' else 'mp4'}")
    (clip,), _ = sort(tmp_path)
    assert clip.attributes["channel"] == "song"
    assert {m: Path(medium.path).name[:2] for m, medium in clip.media.items()} == {
        m: code for m, code in (("audio", audio), ("video", video)) if code
    }


# Livingstone & Russo 2018, table 1, and the file name convention at doi:10.5281/zenodo.1188976, copied out by hand.
EMOTIONS = {
    "01": ("neutral", "neutral"),
    "02": ("calm", "calm"),
    "03": ("happy", "happiness"),
    "04": ("sad", "sadness"),
    "05": ("angry", "anger"),
    "06": ("fearful", "fear"),
    "07": ("disgust", "disgust"),
    "08": ("surprised", "surprise"),
}
CHANNELS = {"01": "speech", "02": "song"}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
REPETITIONS = {"01": "1", "02": "2"}
MEDIA_OF_MODALITY = {"01": ("mp4", {"audio", "video"}), "02": ("mp4", {"video"}), "03": ("wav", {"audio"})}
ACTORS = [f"{number:02d}" for number in range(1, 25)]


def only_clip(tmp_path: Path, name: str, suffix: str = "wav") -> Clip:
    put(tmp_path, f"Actor_{name[-2:]}/{name}.{suffix}")
    clips, rejects = sort(tmp_path)
    assert rejects == []
    (clip,) = clips
    return clip


@pytest.mark.parametrize("code", EMOTIONS)
def test_each_emotion_code_has_its_published_word(tmp_path: Path, code: str) -> None:
    clip = only_clip(tmp_path, f"03-01-{code}-01-01-01-01")
    assert [(label.source, label.own, label.emotion) for label in clip.labels] == [("intended", *EMOTIONS[code])]


@pytest.mark.parametrize(
    ("field", "attribute", "words"),
    [
        (1, "channel", CHANNELS),
        (3, "intensity", INTENSITIES),
        (4, "statement", STATEMENTS),
        (5, "repetition", REPETITIONS),
    ],
)
def test_each_other_code_has_its_published_word(
    tmp_path: Path, field: int, attribute: str, words: dict[str, str]
) -> None:
    for code, word in words.items():
        codes = ["03", "01", "03", "01", "01", "01", "01"]
        codes[field] = code
        assert only_clip(tmp_path / code, "-".join(codes)).attributes[attribute] == word


@pytest.mark.parametrize("code", MEDIA_OF_MODALITY)
def test_each_modality_code_holds_its_media(tmp_path: Path, code: str) -> None:
    suffix, media = MEDIA_OF_MODALITY[code]
    assert set(only_clip(tmp_path, f"{code}-01-03-01-01-01-01", suffix).media) == media


def test_odd_actors_are_men_and_even_ones_are_women(tmp_path: Path) -> None:
    put(tmp_path, *(f"Actor_{actor}/03-01-03-01-01-01-{actor}.wav" for actor in ACTORS))
    clips, _ = sort(tmp_path)
    assert {clip.subject: clip.attributes["sex"] for clip in clips} == {
        f"ravdess/{actor}": "female" if int(actor) % 2 == 0 else "male" for actor in ACTORS
    }


def test_no_code_is_known_beside_the_published_ones() -> None:
    """Each field is tried with every number of two digits; the rest of the name is a recording that exists."""
    published = [MEDIA_OF_MODALITY, CHANNELS, EMOTIONS, INTENSITIES, STATEMENTS, REPETITIONS, ACTORS]
    for field, codes in enumerate(published):
        known = []
        for number in range(100):
            parts = ["03", "01", "03", "01", "01", "01", "01"]
            parts[field] = f"{number:02d}"
            try:
                ravdess.clip_id("-".join(parts))
            except ValueError:
                continue
            known.append(parts[field])
        assert known == list(codes)


@pytest.mark.parametrize("code", STATEMENTS)
def test_the_sentence_is_a_group(tmp_path: Path, code: str) -> None:
    assert only_clip(tmp_path, f"03-01-03-01-{code}-02-05").groups == {"statement": f"ravdess/{code}"}


def test_both_layouts_mixed_give_the_clips_once_and_sorted(tmp_path: Path) -> None:
    put(tmp_path, "Actor_02/03-01-01-01-01-01-02.wav", f"{AUDIO.format('01')}/03-01-08-01-01-01-01.flac")
    put(tmp_path, f"{VIDEO.format('02')}/01-01-01-01-01-01-02.mp4")
    put(tmp_path, "Video_Song_Actor_03/Actor_03/02-02-02-01-01-01-03.mp4")
    clips, rejects = sort(tmp_path)
    assert rejects == []
    assert [clip.id.removeprefix("ravdess/") for clip in clips] == [
        "01-01-01-01-01-02",
        "01-08-01-01-01-01",
        "02-02-01-01-01-03",
    ]
    assert set(clips[0].media) == {"audio", "video"}


@pytest.mark.parametrize(
    ("name", "reason", "detail"),
    [
        ("Actor_01/03-01-05-01-01-01.wav", "bad-name", "6 fields, expected 7 (modality-channel-emotion-"),
        ("Actor_01/03-01-09-01-01-01-01.wav", "bad-name", "unknown emotion '09', expected 01..08"),
        ("Actor_25/03-01-05-01-01-01-25.wav", "bad-name", "unknown actor '25', expected 01..24"),
        ("Actor_01/3-1-5-1-1-1-1.wav", "bad-name", "unknown modality '3'"),
        ("Actor_01/03-01-01-02-01-01-01.wav", "bad-name", "neutral with strong intensity"),
        ("Actor_01/holiday.avi", "bad-name", "1 fields, expected 7"),
        ("Actor_02/03-01-05-01-01-01-01.wav", "wrong-folder", "expected in a folder Actor_01"),
        ("03-01-05-01-01-01-01.wav", "wrong-folder", "expected in a folder Actor_01"),
        (
            "Actor_01/01-01-05-01-01-01-01.avi",
            "wrong-suffix",
            "audio-video (modality 01) is expected as .mp4",
        ),
        ("Actor_01/03-01-05-01-01-01-01.mp4", "wrong-suffix", "is expected as .wav or .flac"),
    ],
)
def test_a_misnamed_file_is_a_reject_that_says_why(tmp_path: Path, name: str, reason: str, detail: str) -> None:
    put(tmp_path, name)
    reject = only_reject(tmp_path)
    assert (reject.id, reject.path, reject.reason) == (name, str(tmp_path / name), reason)
    assert reject.detail.startswith(f"{name}: ")
    assert detail in reject.detail


def test_an_empty_file_is_a_reject_and_its_twin_still_a_clip(tmp_path: Path) -> None:
    put(tmp_path, "Actor_01/03-01-05-01-01-01-01.wav", content=b"")
    put(tmp_path, "Actor_01/01-01-05-01-01-01-01.mp4")
    (clip,), (reject,) = sort(tmp_path)
    assert reject.reason == "empty"
    assert reject.id == clip.id
    assert {Path(medium.path).name[:2] for medium in clip.media.values()} == {"01"}


@pytest.mark.parametrize(
    ("kept", "dropped"),
    [
        ("Actor_01/03-01-05-01-01-01-01.wav", "Actor_01/03-01-05-01-01-01-01.flac"),
        ("Actor_01/03-01-05-01-01-01-01.wav", f"{AUDIO.format('01')}/03-01-05-01-01-01-01.wav"),
    ],
)
def test_of_two_files_of_one_recording_the_second_is_a_reject(tmp_path: Path, kept: str, dropped: str) -> None:
    put(tmp_path, kept, dropped)
    (clip,), (reject,) = sort(tmp_path)
    assert clip.media["audio"].path == str(tmp_path / kept)
    assert (reject.id, reject.path, reject.reason) == (clip.id, str(tmp_path / dropped), "duplicate")
    assert kept in reject.detail


def test_unrelated_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "README.txt", "Actor_01/.DS_Store", "Actor_01/._03-01-05-01-01-01-01.wav")
    put(tmp_path, "Actor_01/01-01-05-01-01-01-01.csv", "Actor_01/03-01-05-01-01-01-01.WAV")
    clips, rejects = sort(tmp_path)
    assert len(clips) == 1
    assert rejects == []


@pytest.mark.parametrize("name", ["03-01-05-01-01-01-01.opus", "03-01-05-01-01-01-01.wav.part", "take 7", "a.xyz"])
def test_a_file_of_unknown_suffix_does_not_vanish(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"Actor_01/{name}", "Actor_01/03-01-05-01-01-02-01.wav", "LICENSE")
    _, (reject,) = sort(tmp_path)
    assert (reject.path, reject.reason) == (str(tmp_path / "Actor_01" / name), "unknown-suffix")
    assert reject.detail.startswith(f"Actor_01/{name}: ")
    (warning,) = (finding for finding in ravdess.verify(tmp_path).findings if finding.what == "unknown-suffix")
    assert (warning.severity, warning.path) == ("warning", reject.path)


def test_a_folder_with_the_name_of_a_recording_is_a_reject_and_is_searched(tmp_path: Path) -> None:
    put(tmp_path, "Actor_01/03-01-05-01-01-01-01.wav/Actor_01/03-01-05-01-01-02-01.wav")
    (clip,), (reject,) = sort(tmp_path)
    assert clip.media["audio"].path.endswith("02-01.wav")
    assert (reject.id, reject.reason) == ("ravdess/01-05-01-01-01-01", "unreadable")
    assert "is a folder with the name of a recording" in reject.detail


def test_only_files_of_unknown_suffix_are_no_corpus(tmp_path: Path) -> None:
    put(tmp_path, "Actor_01/03-01-05-01-01-01-01.opus")
    with pytest.raises(CorpusError, match="no media files below it"):
        sort(tmp_path)


def test_links_are_followed_once_and_a_dangling_one_is_a_reject(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "Actor_01/03-01-05-01-01-01-01.wav")
    root = tmp_path / "root"
    root.mkdir()
    (root / "Actor_01").symlink_to(tmp_path / "elsewhere" / "Actor_01")
    (root / "round").symlink_to(root)
    (root / "Actor_02").symlink_to(tmp_path / "unmounted")
    clips, (reject,) = sort(root)
    assert [clip.id for clip in clips] == ["ravdess/01-05-01-01-01-01"]
    assert (reject.id, reject.reason) == ("Actor_02", "unreadable")


def test_a_name_that_is_no_text_becomes_a_printable_reject(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")).write_bytes(b"x")
    assert only_reject(tmp_path).id.encode() == "caf\ufffd.wav".encode()


@pytest.mark.parametrize("root", ["", "sample", "sample/Speech", "sample/Speech/Actor_01", "links", "files"])
def test_a_clip_from_below_the_mark_is_synthetic_from_wherever_it_is_imported(tmp_path: Path, root: str) -> None:
    name = "Actor_01/03-01-05-01-01-01-01.wav"
    put(tmp_path, "sample/SYNTHETIC.json", f"sample/Speech/{name}")
    (tmp_path / "links").mkdir()
    (tmp_path / "links/Actor_01").symlink_to(tmp_path / "sample/Speech/Actor_01")
    (tmp_path / "files/Actor_01").mkdir(parents=True)
    (tmp_path / "files" / name).symlink_to(tmp_path / "sample/Speech" / name)
    clips, _ = sort(tmp_path / root)
    assert [clip.synthetic for clip in clips] == [True]


def test_a_recording_beside_a_sample_is_not_synthetic(tmp_path: Path) -> None:
    put(tmp_path, "sample/SYNTHETIC.json", "sample/Actor_01/03-01-05-01-01-01-01.wav")
    put(tmp_path, "real/Actor_02/03-01-05-01-01-01-02.wav", "real/Actor_01/01-01-05-01-01-01-01.mp4")
    clips, _ = sort(tmp_path)
    assert {clip.subject: clip.synthetic for clip in clips} == {"ravdess/01": True, "ravdess/02": False}
    assert [clip.synthetic for clip in sort(tmp_path / "real")[0]] == [False, False]
    assert "1 of 3 files made by `mien sample`" in " ".join(f.detail for f in ravdess.verify(tmp_path).findings)


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A folder and a user to whom permissions apply: root may read everything."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)
            for path in Path(folder).rglob("*"):
                path.chmod(0o700)


def test_what_may_not_be_read_is_a_reject() -> None:
    with without_privileges() as root:
        put(root, "Actor_01/03-01-05-01-01-01-01.wav", "Actor_02/03-01-05-01-01-01-02.wav")
        (root / "Actor_01/03-01-05-01-01-01-01.wav").chmod(0)
        (root / "Actor_02").chmod(0)
        (root / "link").symlink_to(root / "Actor_02")
        clips, rejects = sort(root)
    assert clips == []
    assert [(reject.id, reject.reason) for reject in rejects] == [
        ("Actor_02", "unreadable"),
        ("link", "unreadable"),
        ("ravdess/01-05-01-01-01-01", "unreadable"),
    ]
    assert "permission denied" in rejects[2].detail


def test_a_root_that_may_not_be_read_is_an_error() -> None:
    with without_privileges() as folder:
        put(folder, "closed/Actor_01/03-01-05-01-01-01-01.wav")
        (folder / "closed").chmod(0)
        for root in (folder / "closed", folder / "closed" / "Actor_01"):
            with pytest.raises(CorpusError, match="check its permissions"):
                ravdess.import_clips(root)


@pytest.mark.parametrize("stem", ["", "03", "01-01-05-01-01-01", "1-01-05-01-01-01-01", "01_01_05_01_01_01_01"])
def test_clip_id_refuses_other_names(stem: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        ravdess.clip_id(stem)


def test_published_names_are_those_of_the_paper() -> None:
    names = ravdess.published_names()
    n_files = {"audio speech": 1440, "audio song": 1012, "video speech": 2880, "video song": 2024}
    assert {part: len(set(of_part)) for part, of_part in names.items()} == n_files
    stems = [Path(name).stem for of_part in names.values() for name in of_part]
    assert len(set(stems)) == 7356
    assert len({ravdess.clip_id(stem) for stem in stems}) == ravdess.CARD.n_clips


@pytest.mark.slow
def test_whole_published_corpus_imports_without_a_reject(tmp_path: Path) -> None:
    for name in (name for of_part in ravdess.published_names().values() for name in of_part):
        put(tmp_path, f"Actor_{Path(name).stem[-2:]}/{name}")
    clips, rejects = sort(tmp_path)
    assert rejects == []
    assert len(clips) == 2452
    assert len({clip.subject for clip in clips}) == 24
    assert all(set(clip.media) == {"audio", "video"} for clip in clips)


def test_real_speech_imports_whole(real_data: Path) -> None:
    clips, rejects = sort(real_data / "ravdess" / "speech_16k")
    assert rejects == []
    assert len(clips) == 1440
    assert len({clip.subject for clip in clips}) == 24


def test_real_recordings_have_the_published_hashes(real_data: Path, tmp_path: Path) -> None:
    found = ravdess.verify(real_data / "ravdess" / "original_48k")
    assert found.counts["audio speech"] == (16, 1440)
    assert {finding.what for finding in found.findings} == {"missing", "not-downloaded"}
    assert sum(finding.what == "missing" for finding in found.findings) == 1424

    source = real_data / "ravdess" / "original_48k" / "Actor_01"
    whole = (source / "03-01-03-01-01-01-01.wav").read_bytes()
    put(tmp_path, "Actor_01/03-01-04-01-01-01-01.wav", content=whole)
    put(tmp_path, "Actor_01/03-01-03-01-01-01-01.wav", content=whole[:-1])
    put(tmp_path, "Actor_01/03-01-05-01-01-01-01.wav", content=whole[:-1] + b"x")
    findings = {Path(f.path).stem: f for f in ravdess.verify(tmp_path).findings if f.what != "missing"}
    assert findings["03-01-03-01-01-01-01"].what == "truncated"
    assert findings["03-01-04-01-01-01-01"].what == "renamed"
    assert "03-01-03-01-01-01-01.wav" in findings["03-01-04-01-01-01-01"].detail
    assert findings["03-01-05-01-01-01-01"].what == "hash"


@pytest.mark.slow
def test_real_byte_identical_pair_is_reported(real_data: Path) -> None:
    found = ravdess.verify(real_data / "ravdess" / "speech_16k")
    assert found.intact
    (pair,) = [finding for finding in found.findings if finding.severity == "warning"]
    assert pair.what == "byte-identical"
    assert "03-01-03-01-02-01-07" in pair.path
    assert "03-01-03-01-02-02-07" in pair.detail
