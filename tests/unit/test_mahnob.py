"""MAHNOB-HCI: each session is a clip or a reject with its reason, and the media of a clip share one clock."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from mien.corpora import edf, mahnob
from mien.corpora.clip import Clip, Medium, Rating, Reject
from mien.corpora.emotions import MAHNOB_CODES, VOCABULARIES
from mien.corpora.mahnob import Settings
from mien.corpora.sample import biosignals
from mien.corpora.sample import mahnob as sample
from mien.corpora.sample.face import ACTIONS, actions
from mien.corpora.sample.raters import shown
from mien.corpora.sample.recording import write_avi
from mien.errors import MediaError
from mien.features import media
from tiny_mahnob import GAZE, SENSORS, SOUND, VIDEO, session_xml, write_gaze, write_sensors, write_session
from tiny_media import write_wav


def imported(root: Path, asked: Settings | None = None) -> tuple[list[Clip], list[Reject]]:
    records = list(mahnob.import_clips(root, asked))
    return [r for r in records if isinstance(r, Clip)], [r for r in records if isinstance(r, Reject)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one session, written once; tests copy it."""
    root = tmp_path_factory.mktemp("mahnob")
    write_session(root)
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "root")
    return tmp_path / "root"


# ---------------------------------------------------------------------- what a session becomes


def test_a_session_is_a_clip(root: Path) -> None:
    (root / "Subjects").mkdir()
    (root / "Subjects" / "subject1.xml").write_text('<subject id="1"><Gender>F</Gender><info AGE="24"/></subject>')
    (clip,), rejects = imported(root)
    assert rejects == []
    assert (clip.id, clip.subject, clip.groups) == ("mahnob/2", "mahnob/1", {"stimulus": "mahnob/69.avi"})
    assert {
        "experimentType": "emotion elicitation",
        "isStim": "1",
        "cutLenSec": "12.5",
    }.items() <= clip.attributes.items()
    assert (clip.attributes["sex"], clip.attributes["age"], clip.attributes["timing"]) == ("female", "24", "triggers")
    (label,) = clip.labels
    assert (label.source, label.own, label.emotion) == ("self-report", "amusement", "amusement")
    assert label.ratings == {
        "valence": Rating(value=8, low=1, high=9),
        "arousal": Rating(value=6, low=1, high=9),
        "dominance": Rating(value=5, low=1, high=9),
        "predictability": Rating(value=4, low=1, high=9),
    }
    assert label.ratings["valence"].normalised == 0.75
    assert {name: Path(medium.path).name for name, medium in clip.media.items()} == {
        "video": VIDEO,
        "audio": SOUND,
        "eeg": SENSORS,
        "physio": SENSORS,
        "gaze": GAZE,
    }
    assert clip.media["eeg"] == clip.media["physio"]
    assert (clip.media["eeg"].start_s, clip.media["eeg"].end_s, clip.media["eeg"].offset_s) == (4.0, 14.0, 0.0)
    # The cut lasts 13 s, the film 10 s: what follows is the questionnaire.
    assert (clip.media["video"].start_s, clip.media["video"].end_s, clip.media["video"].offset_s) == (0.0, 10.0, 0.0)


def test_the_nine_keywords_are_a_vocabulary() -> None:
    assert {emotion for _, emotion in MAHNOB_CODES.values() if emotion} == set(VOCABULARIES["mahnob9"])
    assert len(VOCABULARIES["mahnob9"]) == 9


@pytest.mark.parametrize("code", [7, 8, 9, 10])
def test_a_keyword_outside_the_field_keeps_its_word(root: Path, code: int) -> None:
    (root / "Sessions/2/session.xml").write_text(session_xml({"feltEmo": str(code)}))
    (clip,), rejects = imported(root)
    assert (clip.labels[0].own, clip.labels[0].emotion, rejects) == (MAHNOB_CODES[code][0], None, [])


@pytest.mark.parametrize(
    ("asked", "start_s", "offset_s"),
    [(Settings(baseline_s=3.0), 1.0, -3.0), (Settings(baseline_s=30.0), 0.0, -4.0)],
)
def test_a_baseline_is_before_the_stimulus_as_far_as_it_was_recorded(
    root: Path, asked: Settings, start_s: float, offset_s: float
) -> None:
    (clip,), _ = imported(root, asked)
    for name in ("eeg", "physio"):
        medium = clip.media[name]
        assert (medium.start_s, medium.end_s, medium.offset_s) == (start_s, 14.0, offset_s)
    assert clip.media["video"].offset_s == 0.0


def test_another_camera_is_chosen_by_a_part_of_its_name(root: Path) -> None:
    (clip,), _ = imported(root, Settings(camera="BW1"))
    assert Path(clip.media["video"].path).name == "P1-Rec1_BW1_Section_2.avi"
    (clip,), (reject,) = imported(root, Settings(camera="BW5"))
    assert ("video" in clip.media, reject.reason, reject.id) == (False, "no-video", "mahnob/2")


def test_one_video_that_no_track_marks_as_coloured_is_the_video(root: Path) -> None:
    tracks = [f'<track type="video" filename="{VIDEO}"/>', f'<track type="Physiological" filename="{SENSORS}"/>']
    (root / "Sessions/2/session.xml").write_text(session_xml(tracks=tracks))
    (root / "Sessions/2/P1-Rec1_BW1_Section_2.avi").unlink()
    (clip,), rejects = imported(root)
    assert rejects == []
    assert Path(clip.media["video"].path).name == VIDEO
    assert Path(clip.media["audio"].path).name == SOUND  # the only wav there is


def test_without_triggers_the_stimulus_begins_after_half_a_minute(root: Path) -> None:
    write_sensors(root / "Sessions/2" / SENSORS, 75, ())
    (clip,), rejects = imported(root)
    assert rejects == []
    assert (clip.media["eeg"].start_s, clip.media["eeg"].end_s) == (30.0, 45.0)
    assert clip.attributes["timing"] == "30 s"
    (clip,), (reject,) = imported(root, Settings(fallback=False))
    assert (reject.reason, clip.media.keys(), clip.attributes["timing"]) == (
        "no-triggers",
        {"video", "audio", "gaze"},
        "cut",
    )
    assert clip.media["video"].end_s == 13.0


def test_one_trigger_or_no_status_channel_is_as_good_as_none(root: Path) -> None:
    for arguments in ({"triggers_s": (8.0,)}, {"status": False}):
        write_sensors(root / "Sessions/2" / SENSORS, 75, **arguments)  # type: ignore[arg-type]
        (clip,), _ = imported(root)
        assert (clip.media["eeg"].start_s, clip.attributes["timing"]) == (30.0, "30 s")
    write_sensors(root / "Sessions/2" / SENSORS, 60, ())
    (clip,), (reject,) = imported(root)
    assert reject.reason == "no-triggers"
    assert "eeg" not in clip.media


def test_rate_and_names_are_those_of_the_header(root: Path) -> None:
    write_sensors(root / "Sessions/2" / SENSORS, 20, (4.25, 14.0), rate_hz=500, channels=("Fp1", "1Fz", "EXG1"))
    (clip,), (reject,) = imported(root)
    assert clip.media["eeg"].start_s == 4.25
    assert media.decode("signals", clip.media["eeg"], 0.0).rate_hz == 500
    assert reject.reason == "no-channel"
    assert "AF3" in reject.detail and "Fz" not in reject.detail.replace("AFz", "").split("no ")[1].split(", ")
    write_sensors(root / "Sessions/2" / SENSORS, channels=("GSR1",))
    (clip,), _ = imported(root)
    assert ("eeg" in clip.media, "physio" in clip.media) == (False, True)


# ---------------------------------------------------------------------- what it cannot be


def change_xml(**arguments: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / "session.xml").write_text(session_xml(**arguments))  # type: ignore[return-value]


def cut(name: str, share: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(share * len(data))])

    return change


FILMED = f'<track type="Video" color="1" filename="{VIDEO}"><annotation type="Gaze" filename="{GAZE}"/></track>'
SENSED = f'<track type="Physiological" filename="{SENSORS}"/>'
GAZED = f'<annotation type="Gaze" filename="{GAZE}"/>'
UNRATED = dict.fromkeys(("feltArsl", "feltVlnc", "feltCtrl", "feltPred", "feltEmo"))
ZEROS = {"feltArsl": "0", "feltVlnc": "-1", "feltCtrl": "0", "feltPred": "0", "feltEmo": None}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (cut("session.xml", 0.5), "bad-xml"),
        (cut("session.xml", 0), "empty"),
        (lambda folder: (folder / "session.xml").write_text("<subject/>"), "bad-xml"),
        (
            lambda folder: (folder / "session.xml").write_bytes(b'<?xml version="1.0" encoding="klingon"?><a/>'),
            "bad-xml",
        ),
        (lambda folder: (folder / "session.xml").write_text("<session>" + " " * 2**20 + "</session>"), "bad-xml"),
        (lambda folder: (folder / "session.xml").unlink(), "no-session"),
        (change_xml(attributes={"isStim": "0"}), "no-rating"),
        (change_xml(attributes=UNRATED | {"isStim": "0.0", "experimentType": "video tagging"}), "no-rating"),
        (change_xml(attributes=UNRATED), "no-rating"),
        (change_xml(attributes=ZEROS), "no-rating"),
        (change_xml(attributes={"sessionId": "4"}), "wrong-folder"),
        (change_xml(subject=None), "no-subject"),
        (change_xml(subject="nobody"), "no-subject"),
        (lambda folder: [change_xml(tracks=[])(folder), (folder / SOUND).unlink()], "no-media"),
    ],
)
def test_a_session_that_can_be_no_clip_is_a_reject(root: Path, change: Callable[[Path], None], reason: str) -> None:
    change(root / "Sessions/2")
    clips, rejects = imported(root)
    assert clips == []
    assert reason in [reject.reason for reject in rejects]
    assert {reject.id for reject in rejects} == {"mahnob/2"}
    assert all(reject.detail.startswith("Sessions/2: ") for reject in rejects)


@pytest.mark.parametrize(
    ("change", "reason", "lost"),
    [
        (lambda folder: (folder / VIDEO).unlink(), "missing", {"video"}),
        (lambda folder: (folder / VIDEO).write_bytes(b""), "empty", {"video"}),
        (lambda folder: (folder / SENSORS).unlink(), "missing", {"eeg", "physio"}),
        (cut(SENSORS, 0.8), "truncated", {"eeg", "physio"}),
        (cut(SENSORS, 0.001), "truncated", {"eeg", "physio"}),
        (lambda folder: (folder / SENSORS).write_bytes(b"no sensors"), "not-media", {"eeg", "physio"}),
        (change_xml(attributes={"feltEmo": "13"}), "bad-emotion", set()),
        (change_xml(attributes={"feltArsl": "10"}), "bad-rating", set()),
        (change_xml(attributes={"feltArsl": "nan"}), "bad-rating", set()),
        (change_xml(attributes={"mediaFile": None}), "no-stimulus", set()),
        (change_xml(attributes={"vidEndSmp": "6000"}), "bad-stretch", set()),
        (change_xml(attributes={"audRate": "0"}), "bad-stretch", set()),
        (change_xml(attributes={"vidBeginSmp": "6100.5", "vidRate": "1e-300"}), "bad-stretch", {"video"}),
        (change_xml(tracks=[FILMED]), "no-bdf", {"eeg", "physio"}),
        (change_xml(tracks=[SENSED, GAZED]), "no-video", {"video"}),
        (change_xml(tracks=[SENSED, GAZED, FILMED.replace(VIDEO, "../3/a.avi")]), "bad-name", {"video"}),
        (change_xml(tracks=[FILMED, SENSED.replace(SENSORS, "/a/b.bdf")]), "bad-name", {"eeg", "physio"}),
        (lambda folder: (folder / "other.avi").write_bytes(b"RIFF"), "not-named", set()),
        (lambda folder: (folder / "notes.opus").write_bytes(b"x"), "unknown-suffix", set()),
    ],
)
def test_a_session_that_lacks_something_says_so(
    root: Path, change: Callable[[Path], None], reason: str, lost: set[str]
) -> None:
    change(root / "Sessions/2")
    clips, rejects = imported(root)
    assert reason in [reject.reason for reject in rejects]
    assert {reject.id for reject in rejects} == {"mahnob/2"}
    assert [clip.media.keys() for clip in clips] == [{"video", "audio", "eeg", "physio", "gaze"} - lost]
    assert all(str(root) in medium.path for clip in clips for medium in clip.media.values())
    if lost & {"video", "eeg"}:
        clips, rejects = imported(root, Settings(partial=False))
        assert clips == []
        assert {"no-media", reason} <= {reject.reason for reject in rejects}


def test_folders_are_never_lost(root: Path) -> None:
    write_session(root, 4)
    shutil.copytree(root / "Sessions/2", root / "copy/Sessions/02")
    (root / "Sessions/6").mkdir()
    (root / "Sessions/notes").mkdir()
    (root / "Sessions/notes/session.xml").write_text(session_xml())
    (root / "MediaFiles").mkdir()
    (root / "MediaFiles/69.avi").write_bytes(b"RIFF")
    (root / "Subjects").mkdir()
    (root / "Subjects/subject1.xml").write_text("<subject")
    clips, rejects = imported(root)
    assert [clip.id for clip in clips] == ["mahnob/2", "mahnob/4"]
    assert {(reject.id, reject.reason) for reject in rejects} == {
        ("mahnob/2", "duplicate"),
        ("mahnob/6", "no-session"),
        ("Sessions/notes/session.xml", "bad-name"),
        ("Subjects/subject1.xml", "bad-xml"),
    }


# ---------------------------------------------------------------------- one clock


@pytest.mark.parametrize("cut_s", [-0.413, 0.0, 0.737])
def test_a_pulse_in_all_media_comes_at_one_time_of_the_clip(tmp_path: Path, cut_s: float) -> None:
    """A flash, a click and a spike at one moment of the film. The cut recordings begin cut_s after the film does."""
    folder = write_session(tmp_path)
    pulse_s, visit_s, frame_hz, sound_hz, sensor_hz = 5.0, 321.0123, 25, 8000, 256
    frames, samples = visit_s * frame_hz, visit_s * sound_hz
    times = {"vidRate": frame_hz, "vidBeginSmp": frames, "vidEndSmp": frames + 12 * frame_hz}
    times |= {"audRate": sound_hz, "audBeginSmp": samples, "audEndSmp": samples + 12 * sound_hz}
    (folder / "session.xml").write_text(session_xml({name: repr(value) for name, value in times.items()}))
    write_gaze(folder / GAZE, 7000.0, 7000.0 + 1000 * cut_s + 250, samples + 0.25 * sound_hz)

    first_frame_s = cut_s + (np.ceil(frames) - frames) / frame_hz
    first_sample_s = cut_s + (np.ceil(samples) - samples) / sound_hz
    flash = int((pulse_s - first_frame_s) * frame_hz)
    pictures = [Image.new("RGB", (64, 48), "white" if k == flash else "black") for k in range(12 * frame_hz)]
    write_avi(folder / VIDEO, pictures, frame_hz, size_px=pictures[0].size)
    sound = 1e-3 * np.random.default_rng(0).standard_normal(12 * sound_hz).astype(np.float32)
    sound[round((pulse_s - first_sample_s) * sound_hz)] = 0.9
    write_wav(folder / SOUND, sound, sound_hz)
    spike = np.zeros(20 * sensor_hz)
    spike[round((4.0 + pulse_s) * sensor_hz)] = 500.0
    write_sensors(folder / SENSORS, rate_hz=sensor_hz, values={"Fp1": spike, "GSR1": 10 * spike})

    (clip,), rejects = imported(tmp_path)
    assert rejects == []

    def time_of(medium: Medium, values: Any, rate_hz: float) -> float:
        return medium.offset_s + int(np.argmax(np.abs(values))) / rate_hz

    video, audio = clip.media["video"], clip.media["audio"]
    seen = [float(picture.mean()) for picture in media.decode("pictures", video, frame_hz)]
    heard = media.decode("sound", audio, sound_hz)
    assert max(seen) > 200
    assert time_of(video, seen, frame_hz) == pytest.approx(pulse_s, abs=1.001 / frame_hz)
    assert time_of(audio, heard, sound_hz) == pytest.approx(pulse_s, abs=1 / sound_hz)
    for name, channel in (("eeg", "Fp1"), ("physio", "GSR1")):
        found = media.decode("signals", clip.media[name], 0.0)
        values = found.values[:, found.names.index(channel)]
        assert time_of(clip.media[name], values, found.rate_hz) == pytest.approx(pulse_s, abs=1 / sensor_hz)
    # All begin and end together, so rows of their features belong together.
    assert {medium.offset_s for name, medium in clip.media.items() if name != "gaze"} == {max(0.0, first_frame_s)}
    assert max(0.0, first_frame_s) == pytest.approx(max(0.0, cut_s), abs=1 / frame_hz)
    assert clip.media["gaze"].offset_s == pytest.approx(cut_s, abs=1e-9)


@pytest.mark.parametrize(
    "text", ["", "Timestamp\tEvent\n1\tMovieStart\n", "\xff\n", "Timestamp\n", "Timestamp\tEvent\n"]
)
def test_a_gaze_table_that_tells_no_time_leaves_the_cut_at_the_stimulus(root: Path, text: str) -> None:
    (root / "Sessions/2" / GAZE).write_text(text)
    (clip,), _ = imported(root)
    assert clip.media["video"].start_s == 0.0


def test_media_that_share_no_moment_are_refused(root: Path) -> None:
    write_gaze(root / "Sessions/2" / GAZE, 1000, 1000, 4_410_000 - 20 * 44_100)  # cut 20 s after a film of 10 s
    (clip,), rejects = imported(root)
    assert clip.media.keys() == {"eeg", "physio", "gaze"}
    assert [reject.reason for reject in rejects] == ["bad-stretch", "bad-stretch"]


@pytest.mark.slow
def test_triggers_are_those_that_mne_finds(real_data: Path) -> None:
    import mne

    for name in ("test_bdf_stim_channel.bdf", "test.bdf"):
        path = real_data / "physio" / name
        with path.open("rb") as file:
            header = edf.read_header(str(path), file)
            found = edf.read_triggers(str(path), file, header, header.n_records or 0)
        raw = mne.io.read_raw_bdf(path, verbose="error")
        events = mne.find_events(raw, stim_channel="Status", shortest_event=1, verbose="error")
        assert found == (events[:, 0] - raw.first_samp).tolist(), name


def test_more_records_than_a_recording_has_are_refused(root: Path) -> None:
    path = root / "Sessions/2" / SENSORS
    with path.open("rb") as file:
        header = edf.read_header(str(path), file)
        with pytest.raises(MediaError, match="claims 2000000 records") as error:
            edf.read_triggers(str(path), file, header, 2_000_000)
    assert error.value.reason == "bad-header"


# ---------------------------------------------------------------------- verify


def test_published_are_527_sessions_of_27_people() -> None:
    """Checks of the facts: 1042 is trial 1 of person 9, 2618 trial 9 of person 21, 3810 trial 20 of person 30."""
    published = mahnob.published_sessions()
    assert len(published) == mahnob.CARD.n_clips
    assert len(set(published.values())) == mahnob.CARD.n_subjects
    assert (min(published), max(published)) == (2, 3810)
    assert (published[1042], published[2618], published[3810], published[1068]) == (9, 21, 30, 9)
    assert {1040, 1070, 1432} & published.keys() == set()


def test_verify_counts_and_finds_what_is_missing_or_cut(root: Path) -> None:
    neutral = root / "Sessions/3"
    neutral.mkdir()
    (neutral / "session.xml").write_text(session_xml({"sessionId": "3", "isStim": "0"}))
    write_wav(root / "Sessions/2" / SOUND, np.linspace(-0.5, 0.5, 4000, dtype=np.float32), 8000)
    for name in (VIDEO, "P1-Rec1_BW1_Section_2.avi"):
        write_avi(root / "Sessions/2" / name, [Image.new("RGB", (64, 48))] * 5, 10, size_px=(64, 48))
    steps: list[tuple[int, int]] = []
    found = mahnob.verify(root, on_file=lambda *step: steps.append(step))
    assert found.counts == {"sessions": (1, 527), "subjects": (1, 27)}
    assert steps[-1] == (4, 4)
    kinds = [(finding.severity, finding.what) for finding in found.findings]
    assert kinds.count(("error", "missing")) == 19  # of person 1
    assert {kind for kind in kinds if kind[0] != "info"} == {("error", "missing")}
    assert {what for severity, what in kinds if severity == "info"} == {
        "not-downloaded",
        "no-rating",
        "no-published-hash",
    }
    for name in (SENSORS, VIDEO, SOUND):
        path = root / "Sessions/2" / name
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 6 // 10])
        errors = [f for f in mahnob.verify(root).findings if f.severity == "error" and f.what != "missing"]
        assert [(f.what, f.path) for f in errors] == [("truncated", str(path))], name
        path.write_bytes(data)


# ---------------------------------------------------------------------- the sample


@pytest.fixture(scope="module")
def sensors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The BDF of one trial of the sample."""
    path = tmp_path_factory.mktemp("sample") / "a.bdf"
    sample.write_sensors(path, watchings(1)[0])
    return path


def watchings(n_subjects: int, n_per_emotion: int = 1, seed: int = 0) -> list[Any]:
    return [take.performance for take in sample.takes(n_subjects, n_per_emotion, seed)]


@pytest.mark.slow
def test_mne_reads_the_sensors_of_the_sample_exactly(sensors: Path) -> None:
    import mne

    raw = mne.io.read_raw_bdf(sensors, preload=True, verbose="error")
    found = media.decode("signals", Medium(path=str(sensors)), 0.0)
    assert raw.info["sfreq"] == found.rate_hz == 256
    assert raw.ch_names == list(found.names)
    others = ("EXG4", "EXG5", "EXG6", "EXG7", "EXG8", "GSR1", "GSR2", "Erg1", "Erg2", "Resp", "Temp", "Status")
    assert raw.ch_names == [*mahnob.EEG_CHANNELS, "EXG1", "EXG2", "EXG3", *others]
    units = dict(zip(found.names, found.units))
    assert (units["Fz"], units["GSR1"], units["Resp"], units["Temp"], units["Status"]) == (
        *("uV", "Ohm", "uV", "degC", "Boolean"),
    )
    for name, values in zip(raw.ch_names[:-1], raw.get_data()):
        scale = 1e6 if units[name] == "uV" else 1
        np.testing.assert_allclose(found.values[:, found.names.index(name)], scale * values, rtol=1e-6, atol=1e-3)
    events = mne.find_events(raw, verbose="error")
    watching = watchings(1)[0]
    assert events[:, 2].tolist() == [16, 16]
    assert (events[1, 0] - events[0, 0]) / 256 == watching.film_s
    with sensors.open("rb") as file:
        header = edf.read_header("a", file)
        assert edf.read_triggers("a", file, header, header.n_records or 0) == events[:, 0].tolist()


def test_the_same_seed_writes_the_same_sensors_and_others_do_not(sensors: Path, tmp_path: Path) -> None:
    first = watchings(1)[0]
    for number, watching in enumerate([watchings(2)[0], watchings(1, seed=1)[0], watchings(1)[1]]):
        sample.write_sensors(tmp_path / f"{number}.bdf", watching)
        is_same = (tmp_path / f"{number}.bdf").read_bytes() == sensors.read_bytes()
        assert is_same == (watching == first)


@pytest.mark.slow
def test_a_trial_is_the_same_each_time_and_whole_to_the_decoders(tmp_path: Path) -> None:
    (take,) = [take for take in sample.takes(2, 1, 0) if take.clip_id == f"mahnob/{watchings(1)[0].session}"]
    for root in (tmp_path / "a", tmp_path / "b"):
        sample.record(root, take)
        sample.tabulate(root, [take])
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    (clip,), rejects = imported(tmp_path / "a")
    assert (rejects, clip.id, clip.attributes["timing"], clip.attributes["sex"]) == (
        [],
        take.clip_id,
        "triggers",
        "male",
    )
    film_s = watchings(1)[0].film_s
    n_pictures = sum(1 for _ in media.decode("pictures", clip.media["video"], 10.0))
    assert n_pictures / 10 == pytest.approx(film_s, abs=0.1)
    assert len(media.decode("sound", clip.media["audio"], 16_000)) / 16_000 == pytest.approx(film_s, abs=0.001)
    assert len(media.decode("signals", clip.media["eeg"], 0.0).values) / 256 == film_s
    with av.open(clip.media["video"].path) as container:
        assert "SYNTHETIC" in container.metadata["comment"]
        assert (container.streams.video[0].codec_context.name, container.streams.video[0].average_rate) == ("mpeg4", 10)


def test_sessions_of_the_sample_are_published_ones() -> None:
    published = mahnob.published_sessions()
    for n_per_emotion in (1, 3):
        found = watchings(27, n_per_emotion)
        assert {watching.session for watching in found} <= published.keys()
        assert len({watching.session for watching in found}) == len(found)
    assert len(found) == 527
    assert {(w.person.name, w.emotion) for w in watchings(2)} <= {(w.person.name, w.emotion) for w in watchings(3)}


def sensed(watching: Any) -> dict[str, float]:
    """Crude measures of one trial, over its film."""
    from scipy.signal import find_peaks, welch

    time_s = np.arange(-3 * 256, round(watching.film_s * 256)) / 256
    felt = biosignals.Felt(*shown(watching), watching.event_s, watching.share)
    found = biosignals.record(watching.person, watching.name, felt, time_s, 256)
    film = {name: values[3 * 256 :] for name, values in found.items()}
    before = {name: values[: 3 * 256] for name, values in found.items()}
    hz, density = welch(np.array([film[name] for name in mahnob.EEG_CHANNELS]), 256, nperseg=512)

    def power(names: Iterable[str], low_hz: float, high_hz: float) -> float:
        channels = [mahnob.EEG_CHANNELS.index(name) for name in names]
        return float(np.log(density[channels][:, (hz >= low_hz) & (hz < high_hz)].mean(axis=1)).mean())

    beats, _ = find_peaks(film["EXG3"], height=500, distance=80)
    breath = np.abs(np.fft.rfft(film["Resp"] - film["Resp"].mean(), 2**14))
    return {
        "asymmetry": power(biosignals.RIGHT, 8, 13) - power(biosignals.LEFT, 8, 13),
        "beta": power(("Fz", "Cz", "Pz", "C3", "C4"), 17, 23),
        "heart": 60 * 256 / float(np.diff(beats).mean()),
        "skin": 1e6 / float(film["GSR1"].min()) - 1e6 / float(before["GSR1"].mean()),
        "breath": float(breath.argmax()) / 2**14 * 256,
        "finger": float(film["Temp"][-256:].mean() - before["Temp"].mean()),
        "valence": shown(watching)[0],
        "arousal": shown(watching)[1],
        "wave": float(found["Pz"][np.abs(time_s - watching.event_s - 0.35) < 0.03].mean()),
        "rest": float(found["Pz"].std()),
    }


@pytest.mark.slow
def test_each_sensor_follows_what_is_felt() -> None:
    """Within each person, as people differ in all of these."""
    seen = watchings(3)
    measures = [sensed(watching) for watching in seen]
    people = np.array([watching.person.name for watching in seen])
    columns = {name: np.array([row[name] for row in measures]) for name in measures[0]}
    own = {name: values - [values[people == one].mean() for one in people] for name, values in columns.items()}

    def together(one: str, other: str) -> float:
        return float(np.corrcoef(own[one], own[other])[0, 1])

    assert together("asymmetry", "valence") > 0.6
    assert abs(together("asymmetry", "arousal")) < 0.4
    for name in ("beta", "heart", "skin", "breath"):
        assert together(name, "arousal") > 0.5, name
    assert together("finger", "arousal") < -0.5
    assert (columns["heart"] > 50).all() and (columns["heart"] < 110).all()
    assert columns["wave"].mean() > 0.5 * columns["rest"].mean()  # at the moment that the face shows most


def test_the_face_shows_what_is_felt_when_the_sensors_do() -> None:
    smiles, valences = [], []
    for watching in watchings(3):
        time_s = np.arange(0, watching.film_s, 0.1)
        moved = np.abs(actions(watching, time_s) - actions(watching, np.array([-1.0])))
        smiles.append(actions(watching, time_s)[:, list(ACTIONS).index("smile")].mean())
        valences.append(shown(watching)[0])
        if watching.emotion != "neutral":
            blink = list(ACTIONS).index("lids")
            peak_s = time_s[np.delete(moved, blink, axis=1).sum(axis=1).argmax()]
            assert peak_s == pytest.approx(watching.event_s, abs=0.15)
    assert np.corrcoef(smiles, valences)[0, 1] > 0.7
