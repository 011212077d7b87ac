"""The synthetic corpora: true layouts and formats, a face and a voice that move together, seeds both ways."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from mien.corpora import cremad, load, ravdess
from mien.corpora.attach import attach
from mien.corpora.clip import Clip
from mien.corpora.sample.face import ACTIONS, HEIGHT_PX, WIDTH_PX, act, actions
from mien.corpora.sample.performance import SILENCE_S, Performance, Person
from mien.corpora.sample.raters import RATERS, rate, shown
from mien.corpora.sample.voice import speak
from mien.corpora.sample.write import write_sample
from mien.errors import CorpusError

pytestmark = pytest.mark.slow

PERSON = Person(0, "trial", "female")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One subject, one clip per emotion: 8 of RAVDESS and 6 of CREMA-D."""
    root = tmp_path_factory.mktemp("sample")
    write_sample(root, n_subjects=1, n_per_emotion=1)
    return root


def film(path: Path) -> dict[str, tuple[str, float]]:
    """Kind of stream to its codec and decoded length in seconds; the comment must say synthetic."""
    streams: dict[str, tuple[str, float]] = {}
    with av.open(str(path)) as container:
        assert "SYNTHETIC" in container.metadata["comment"]
        for video in container.streams.video:
            n_frames = sum(1 for _ in container.decode(video))
            assert (video.width, video.height) == (WIDTH_PX, HEIGHT_PX)
            streams["video"] = (video.codec_context.name, n_frames * 1001 / 30000)
    with av.open(str(path)) as container:
        for audio in container.streams.audio:
            n_samples = sum(frame.samples for frame in container.decode(audio))
            streams["audio"] = (audio.codec_context.name, n_samples / audio.codec_context.sample_rate)
    return streams


def test_ravdess_lies_in_the_published_folders_and_formats(root: Path) -> None:
    clips = [record for record in ravdess.import_clips(root / "ravdess") if isinstance(record, Clip)]
    assert len(clips) == 8
    for clip in clips:
        sound = Path(clip.media["audio"].path)
        assert sound.parent == root / "ravdess/Audio_Speech_Actors_01-24/Actor_01"
        about = soundfile.info(sound)
        assert (about.samplerate, about.channels, about.subtype) == (48_000, 1, "PCM_16")
        assert 1.2 <= about.duration <= 2.4
        with soundfile.SoundFile(sound) as stream:
            assert "SYNTHETIC" in stream.comment
        with_sound = film(Path(clip.media["video"].path))
        assert {kind: codec for kind, (codec, _) in with_sound.items()} == {"video": "h264", "audio": "aac"}
        assert with_sound["video"][1] == pytest.approx(about.duration, abs=0.04)
        assert with_sound["audio"][1] == pytest.approx(about.duration, abs=0.06)  # AAC pads to whole frames
        silent = film(Path(clip.media["video"].path.replace("/01-", "/02-")))
        assert silent == {"video": with_sound["video"]}


def test_cremad_lies_in_the_published_folders_and_formats(root: Path) -> None:
    clips = [record for record in cremad.import_clips(root / "cremad") if isinstance(record, Clip)]
    assert len(clips) == 6
    for clip in clips:
        sound = Path(clip.media["audio"].path)
        about = soundfile.info(sound)
        assert (about.samplerate, about.channels, about.subtype) == (16_000, 1, "PCM_16")
        streams = film(Path(clip.media["video"].path))
        assert {kind: codec for kind, (codec, _) in streams.items()} == {"video": "flv", "audio": "mp3float"}
        assert streams["video"][1] == pytest.approx(about.duration, abs=0.04)
        assert film(root / "cremad/AudioMP3" / f"{sound.stem}.mp3")["audio"][0] == "mp3float"
        assert len(clip.labels) == 4
        assert {"age", "sex", "race", "ethnicity"} <= set(clip.attributes)


def test_votes_and_majorities_of_both_tables_agree(root: Path) -> None:
    for clip in cremad.import_clips(root / "cremad"):
        assert isinstance(clip, Clip)
        for label in clip.labels[1:]:
            most = max(label.votes.values())
            majority = [emotion for emotion, share in label.votes.items() if share == most]
            assert label.own.split(":") == [emotion[0].upper() for emotion in majority]
            assert label.emotion == (majority[0] if len(majority) == 1 else None)


def test_the_same_seed_gives_the_same_bytes_and_more_subjects_leave_the_first(root: Path, tmp_path: Path) -> None:
    write_sample(tmp_path, ("cremad",), n_subjects=2, n_per_emotion=1)
    first = sorted((root / "cremad").rglob("1001*"))
    assert len(first) == 18
    for path in first:
        assert path.read_bytes() == (tmp_path / path.relative_to(root)).read_bytes(), path.name


def test_another_seed_person_or_emotion_gives_another_sound_and_face() -> None:
    performances = [
        Performance(PERSON, "a", "anger", 1.0, 6),
        Performance(Person(1, "trial", "female"), "a", "anger", 1.0, 6),
        Performance(Person(0, "other", "female"), "a", "anger", 1.0, 6),
        Performance(PERSON, "b", "anger", 1.0, 6),
        Performance(PERSON, "a", "sadness", 1.0, 6),
    ]
    assert len({speak(performance, 8000).tobytes() for performance in performances}) == 5
    assert len({next(act(performance, 10)).tobytes() for performance in performances}) == 5


def test_voice_follows_the_emotion() -> None:
    def level_db(emotion: str) -> float:
        sounds = [speak(Performance(PERSON, str(take), emotion, 1.0, 6), 16_000) for take in range(6)]
        return float(np.mean([10 * np.log10(np.mean(sound**2)) for sound in sounds]))

    def length_s(emotion: str) -> float:
        return float(np.mean([Performance(PERSON, str(t), emotion, 1.0, 7).duration_s for t in range(6)]))

    assert level_db("anger") > level_db("neutral") + 3 > level_db("sadness") + 6
    assert length_s("fear") < length_s("neutral") < length_s("sadness")


def test_voice_is_silent_around_the_sentence_and_within_range() -> None:
    sound = speak(Performance(PERSON, "loud", "anger", 1.5, 6), 16_000)
    edge = sound[: round(0.5 * SILENCE_S * 16_000)]
    assert np.abs(sound).max() < 1
    assert np.sqrt(np.mean(edge**2)) < 0.05 * np.sqrt(np.mean(sound**2))


def action(name: str, performance: Performance, time_s: np.ndarray) -> np.ndarray:
    return actions(performance, time_s)[:, list(ACTIONS).index(name)]


def test_mouth_opens_with_the_syllables_that_are_heard() -> None:
    rate_hz, step_s = 16_000, 0.01
    for name in "abc":
        performance = Performance(PERSON, name, "neutral", 1.0, 6)
        sound = speak(performance, rate_hz)
        n_hop = round(step_s * rate_hz)
        n_steps = len(sound) // n_hop
        loudness = np.sqrt(np.mean(sound[: n_steps * n_hop].reshape(n_steps, n_hop) ** 2, axis=1))
        jaw = action("jaw", performance, (np.arange(n_steps) + 0.5) * step_s)
        half_a_syllable = round(0.5 * float(np.diff(performance.syllables_s)[0]) / step_s)
        assert np.corrcoef(loudness, jaw)[0, 1] > 0.7
        assert np.corrcoef(np.roll(loudness, half_a_syllable), jaw)[0, 1] < 0


def test_expression_is_strongest_where_the_emotion_is() -> None:
    for seed in range(4):
        performance = Performance(Person(seed, "trial", "female"), "peak", "surprise", 1.0, 6)
        before, peak = action("brow raise", performance, np.array([0.0, performance.peak_s]))
        assert peak > 1.5 * before > 0


def test_pictures_show_the_mouth_moving_more_than_the_forehead() -> None:
    """From one syllable's middle to its end the head hardly sways."""
    performance = Performance(PERSON, "mouth", "neutral", 1.0, 6)
    faces = [np.asarray(picture.convert("L"), float) for picture in act(performance, 100)]
    half_s = float(np.diff(performance.syllables_s)[0]) / 2
    between = [
        np.abs(faces[round(100 * middle_s)] - faces[round(100 * (middle_s + half_s))])
        for middle_s in performance.syllables_s[:-1]
    ]
    mouth, forehead = np.s_[135:185, 120:200], np.s_[50:80, 120:200]
    assert np.mean([difference[mouth].mean() for difference in between]) > 2
    assert np.mean([difference[mouth].mean() / difference[forehead].mean() for difference in between]) > 1.5


RATED = ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def ratings_of(root: Path, corpus: str) -> dict[tuple[str, str], list[int]]:
    """Clip id and dimension to the raters' points, read from the table itself."""
    points: dict[tuple[str, str], list[int]] = {}
    with (root / corpus / "ratings.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            assert (row["low"], row["high"], row["source"]) == ("1", "9", "annotated")
            for dimension in ("valence", "arousal"):
                points.setdefault((row["clip_id"], dimension), []).append(int(row[dimension]))
    return points


@pytest.mark.parametrize("corpus", ["ravdess", "cremad"])
def test_three_raters_rate_every_clip_and_their_table_can_be_attached(root: Path, corpus: str) -> None:
    points = ratings_of(root, corpus)
    records = list(attach(load(corpus).import_clips(root / corpus), "ratings", str(root / corpus / "ratings.csv")))
    clips = [record for record in records if isinstance(record, Clip)]
    assert len(clips) == len(records) == len(points) / 2
    for clip in clips:
        label = clip.label("annotated")
        assert label is not None
        for dimension, rating in label.ratings.items():
            values = points[clip.id, dimension]
            assert len(values) == rating.n_raters == 3
            assert set(values) <= set(range(1, 10))
            assert rating.value == pytest.approx(sum(values) / 3)
            mean, variance = np.mean(values), np.var(values, ddof=1)
            most = (10 * mean - mean**2 - 9) * 3 / 2  # Brown & Hauenstein 2005
            assert rating.agreement == pytest.approx(1 - 2 * variance / most if variance else 1)


def performances(n_people: int, n_takes: int) -> list[Performance]:
    return [
        Performance(Person(0, f"person {person}", "female"), f"{emotion} {take}", emotion, 0.8 + 0.35 * (take % 2), 6)
        for person in range(n_people)
        for emotion in RATED
        for take in range(n_takes)
    ]


def test_ratings_follow_what_was_put_in_and_raters_are_people() -> None:
    all_performances = performances(5, 4)
    truth = np.array([shown(performance) for performance in all_performances])
    given = np.array([[rate(p, rater) for rater in RATERS] for p in all_performances], float)
    for dimension in range(2):
        assert np.corrcoef(truth[:, dimension], given[:, :, dimension].mean(axis=1))[0, 1] > 0.9
        for one, other in ((0, 1), (0, 2), (1, 2)):
            between = np.corrcoef(given[:, one, dimension], given[:, other, dimension])[0, 1]
            assert 0.7 < between < 0.99  # they agree, and they are not copies of each other
    means = {
        emotion: given[[p.emotion == emotion for p in all_performances]].mean(axis=(0, 1)).tolist() for emotion in RATED
    }
    assert means["happiness"][0] > 6.5 > 4 > means["sadness"][0]
    assert means["anger"][1] > 6 > 4.8 > means["calm"][1]
    assert max(abs(value - 5) for value in means["neutral"]) < 0.7


def test_a_stronger_performance_is_rated_further_from_the_middle() -> None:
    weak, strong = (Performance(PERSON, "same", "happiness", strength, 6) for strength in (0.6, 1.2))
    for little, much in zip(shown(weak), shown(strong), strict=True):
        assert much == pytest.approx(2 * little)
        assert little > 0


def heard(performance: Performance) -> list[float]:
    """Length, energy in five octaves, and of windows of 50 ms: pitch, its range, loudness, its range, periodicity."""
    rate_hz, n_window = 8000, 400
    sound = speak(performance, rate_hz)
    power = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / rate_hz)
    octaves = [np.log10(power[(hz >= low) & (hz < 2 * low)].sum()) for low in (100, 200, 400, 800, 1600)]
    windows = sound[: len(sound) // n_window * n_window].reshape(-1, n_window)
    windows = windows - windows.mean(axis=1, keepdims=True)
    windows = windows[np.mean(windows**2, axis=1) > 1e-5]  # the voiced ones
    spectra = np.abs(np.fft.rfft(windows, 2 * n_window)) ** 2
    correlation = np.fft.irfft(spectra)[:, :n_window]
    correlation /= correlation[:, :1]
    lags = 20 + correlation[:, 20:110].argmax(axis=1)  # 73 to 400 Hz
    pitch, loudness = np.log2(rate_hz / lags), np.log10(np.mean(windows**2, axis=1))
    periodicity = correlation[:, 20:110].max(axis=1).mean()
    windowed = [np.median(pitch), pitch.std(), loudness.mean(), loudness.std(), periodicity]
    return [len(sound) / rate_hz, *octaves, *map(float, windowed)]


def seen(performance: Performance) -> list[float]:
    """Mean strength of each action of the face."""
    return actions(performance, np.linspace(0, performance.duration_s, 31)).mean(axis=0).tolist()


@pytest.mark.parametrize(("measure", "at_least"), [(heard, (0.35, 0.6)), (seen, (0.8, 0.6))])
def test_voice_and_face_of_unseen_people_tell_valence_and_arousal(
    measure: Callable[[Performance], list[float]], at_least: tuple[float, float]
) -> None:
    """By a rule that was learnt from other people; each person's measures are standardised, as speakers differ.

    Shuffled ratings cannot be predicted, so it is not luck.
    """
    from sklearn.svm import SVR

    all_performances = performances(7, 2)
    person = np.array([int(performance.person.name.split()[1]) for performance in all_performances])
    rated = np.array([np.mean([rate(p, rater) for rater in RATERS], axis=0) for p in all_performances])
    x = np.array([measure(performance) for performance in all_performances])
    for one in set(person):
        own = x[person == one]
        x[person == one] = (own - own.mean(axis=0)) / own.std(axis=0)

    def correlations(ratings: np.ndarray) -> np.ndarray:
        """Of each dimension with what is predicted for people whom the rule was not learnt from."""
        predicted = np.zeros_like(ratings)
        for one in set(person):
            for column in range(2):
                rule = SVR(C=3).fit(x[person != one], ratings[person != one, column])
                predicted[person == one, column] = rule.predict(x[person == one])
        return np.array([np.corrcoef(predicted[:, column], ratings[:, column])[0, 1] for column in range(2)])

    found = correlations(rated)
    assert (found > at_least).all(), found
    random = np.random.default_rng(0)
    by_luck = np.array([correlations(random.permutation(rated)) for _ in range(9)])
    assert (by_luck < 0.3).all(), by_luck.max(axis=0)


def test_asking_again_writes_nothing_and_other_numbers_are_refused(root: Path) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in (root / "ravdess").rglob("*.*")}
    write_sample(root, n_subjects=1, n_per_emotion=1)
    assert stamps == {path: path.stat().st_mtime_ns for path in (root / "ravdess").rglob("*.*")}
    with pytest.raises(CorpusError, match=r"holds another sample \(n_subjects 1, n_per_emotion 1, seed 0, format 2\)"):
        write_sample(root, n_subjects=1, n_per_emotion=1, seed=1)


def test_a_real_corpus_is_never_written_into(tmp_path: Path) -> None:
    real = tmp_path / "ravdess" / "Actor_01" / "03-01-01-01-01-01-01.wav"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"x")
    with pytest.raises(CorpusError, match="is not a sample: choose another folder"):
        write_sample(tmp_path, n_subjects=1, n_per_emotion=1)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [real]


def test_a_cut_off_sample_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    def stop(n_done: int, n_takes: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path, ("cremad",), n_subjects=1, n_per_emotion=1, on_clip=stop)
    assert not (tmp_path / "cremad").exists()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"corpora": ()}, "^corpora: none is named; choose from ravdess, cremad"),
        ({"corpora": ("iemocap",)}, "no sample of corpus 'iemocap': choose from ravdess, cremad"),
        ({"n_subjects": 0}, "0 subjects: ravdess has 1 to 24"),
        ({"n_subjects": 25}, "25 subjects: ravdess has 1 to 24"),
        ({"n_per_emotion": 0}, "at least 1 is needed"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, numbers: dict[str, object], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        write_sample(tmp_path / "new", **numbers)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_every_root_says_that_it_is_synthetic(root: Path) -> None:
    for corpus in ("ravdess", "cremad"):
        assert (root / corpus / "README.txt").read_text().startswith("SYNTHETIC")
        marker = json.loads((root / corpus / "SYNTHETIC.json").read_text())
        assert marker["synthetic"] is True
        assert (marker["n_subjects"], marker["n_per_emotion"], marker["seed"]) == (1, 1, 0)


@pytest.mark.torch
def test_mtcnn_finds_the_face_of_every_emotion_and_subject() -> None:
    from facenet_pytorch import MTCNN

    detector = MTCNN(keep_all=True, min_face_size=60)
    for number in range(4):
        person = Person(0, f"ravdess {number + 1}", "male")
        for emotion in ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"):
            performance = Performance(person, emotion, emotion, 1.15, 6)
            pictures = list(act(performance, 4))
            picture = pictures[min(round(performance.peak_s * 4), len(pictures) - 1)]
            boxes, probabilities = detector.detect(picture)
            assert len(boxes) == 1
            assert probabilities[0] > 0.95
            assert 80 < boxes[0][2] - boxes[0][0] < 160
