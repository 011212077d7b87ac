"""The synthetic AMI: formats, one clock for voice and face, seeds, and ratings that the importer reads back."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from mien.corpora import ami
from mien.corpora.clip import Clip
from mien.corpora.sample import ami as sample
from mien.corpora.sample.face import act
from mien.corpora.sample.raters import RATERS, rate
from mien.corpora.sample.voice import speak
from mien.corpora.sample.write import write_sample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One person in two meetings, one utterance per emotion."""
    return write_sample(tmp_path_factory.mktemp("sample"), ("ami",), n_subjects=1, n_per_emotion=1)["ami"]


TAKES = sample.takes(1, 1, seed=0)


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="gray").astype(float) for frame in film.decode(video=0)]


def test_meetings_lie_in_the_published_folders_and_formats(root):
    for take in TAKES:
        folder = root / "amicorpus" / take.meeting
        for name in (f"Headset-{take.headset}", "Mix-Headset"):
            about = soundfile.info(folder / "audio" / f"{take.meeting}.{name}.wav")
            assert (about.samplerate, about.channels, about.subtype) == (16_000, 1, "PCM_16")
            assert about.duration == take.length_s
            assert "SYNTHETIC" in about.extra_info
        with av.open(str(folder / "video" / f"{take.meeting}.Closeup{take.camera}.avi")) as film:
            (stream,) = film.streams
            assert (stream.codec_context.name, stream.codec_context.codec_tag) == ("mpeg4", "DX50")
            assert (stream.width, stream.height, stream.average_rate) == (352, 288, 25)
            assert "SYNTHETIC" in film.metadata["comment"]
            assert sum(1 for _ in film.decode(stream)) == take.length_s * 25


def test_people_change_seats_headsets_and_cameras_between_two_meetings(root):
    first, second = TAKES
    assert first.participant == second.participant
    assert first.letter != second.letter
    assert first.headset != second.headset
    assert first.camera != second.camera
    clips = [record for record in ami.import_clips(root) if isinstance(record, Clip)]
    assert {clip.subject for clip in clips} == {f"ami/{first.participant}"}


def test_voice_and_face_keep_the_clock_of_the_meeting(root):
    """What is heard and seen from the start of a turn is its performance, to the sample and to the picture."""
    take = TAKES[0]
    folder = root / "amicorpus" / take.meeting
    sound = soundfile.read(folder / "audio" / f"{take.meeting}.Headset-{take.headset}.wav")[0]
    film = pictures(folder / "video" / f"{take.meeting}.Closeup{take.camera}.avi")
    for turn in take.turns:
        said = speak(turn.performance, 16_000)
        heard = sound[round(turn.start_s * 16_000) :][: len(said)]
        assert np.abs(heard - said).max() < 8 * sample.ROOM
        shown = [np.asarray(p.resize((352, 288)).convert("L"), float) for p in act(turn.performance, 12.5)]
        first = round(turn.start_s * 25)
        for shift in (-4, 4):  # a picture is shown for two frames
            there = np.mean([np.abs(film[first + 2 * k] - one).mean() for k, one in enumerate(shown)])
            apart = [(film[at], one) for k, one in enumerate(shown) if 0 <= (at := first + 2 * k + shift) < len(film)]
            assert there < 0.8 * np.mean([np.abs(picture - one).mean() for picture, one in apart])
    loud = np.array([np.abs(sound[at : at + 1600]).max() for at in range(0, len(sound) - 1600, 1600)])
    spoken = [any(t.start_s < at / 10 + 0.1 and at / 10 < t.end_s for t in take.turns) for at in range(len(loud))]
    assert loud[~np.array(spoken)].max() < 10 * sample.ROOM < loud.max()


def test_ratings_are_those_of_the_performances_and_find_their_clips(root):
    records = list(ami.import_clips(root, ami.Settings(ratings=str(root / "ratings.csv"))))
    clips = {clip.id: clip for clip in records if isinstance(clip, Clip)}
    assert len(clips) == len(records) == 8
    for take in TAKES:
        for turn in take.turns:
            start_ms, end_ms = round(turn.start_s * 1000), round(turn.end_s * 1000)
            label = clips[f"ami/{take.name}.{start_ms:08d}-{end_ms:08d}"].label("annotated")
            points = np.array([rate(turn.performance, rater) for rater in RATERS]).mean(axis=0)
            assert [label.ratings[name].value for name in ("valence", "arousal")] == pytest.approx(points)
            assert label.ratings["valence"].n_raters == 3
            assert (label.ratings["valence"].low, label.ratings["valence"].high) == (1, 9)
    assert {clip.label("proxy").own for clip in clips.values()} >= {"positive", "negative"}


def test_more_subjects_leave_the_first_ones_as_they_were():
    for n_subjects, n_meetings in ((4, 2), (6, 4)):
        takes = sample.takes(n_subjects, 1, seed=0)
        assert takes[0] == TAKES[0]
        assert TAKES[1] in takes
        assert len({take.participant for take in takes}) == n_subjects
        meetings = [name for name, _ in groupby(takes, key=lambda take: take.meeting)]
        assert len(meetings) == len(set(meetings)) == n_meetings
        for of_meeting in ([take for take in takes if take.meeting == name] for name in meetings):
            for what in ("letter", "headset", "camera", "participant"):
                assert len({getattr(take, what) for take in of_meeting}) == len(of_meeting), what
            assert len({take.length_s for take in of_meeting}) == 1
    assert sample.takes(1, 1, seed=1)[0].turns != TAKES[0].turns


def test_the_same_take_gives_the_same_bytes(root, tmp_path):
    sample.record(tmp_path, TAKES[0])
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    assert [path.suffix for path in files] == [".wav", ".avi"]
    for path in files:
        assert path.read_bytes() == (root / path.relative_to(tmp_path)).read_bytes(), path.name
