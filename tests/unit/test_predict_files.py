"""mien predict: files through the machinery of prepare to answers, a broken one among them a reject."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mien.cli.main import main
from mien.corpora.clip import Clip, Label, Medium
from mien.corpora.table import Settings
from mien.data.columns import InMemory
from mien.data.mapped_table import cache_folder
from mien.data.normalise import EVERYBODY, fit_normaliser
from mien.errors import CorpusError, ExperimentError, MienError
from mien.experiment.target import TargetSpec
from mien.features.spec import FeatureSpec, Frames
from mien.predict import answers as room
from mien.predict import notes
from mien.predict.ensemble import load_ensemble, uncertainty
from mien.predict.files import Windows, predict_files
from mien.predict.output import check_output, write_output
from mien.predict.recogniser import load_run
from mien.predict.recordings import read_recordings, windows
from mien.predict.truths import scores, truth_of
from tiny_media import write_movie, write_wav
from tiny_run import EMOTIONS, RATE_HZ, noise, write_series

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    write_series(folder)
    return folder


@pytest.fixture(scope="module")
def series(place) -> Path:
    return next((place / "runs" / "tiny").iterdir())


@pytest.fixture(scope="module")
def run(series) -> Path:
    return series / "seed-0" / "fold-0"


# ---------------------------------------------------------------------- what was asked for


@pytest.mark.slow
def test_a_table_is_answered_line_by_line_and_scored_and_a_broken_file_is_told(place, series, tmp_path):
    media = sorted((place / "media").iterdir())[:9]
    broken = tmp_path / "broken.wav"
    broken.write_bytes(media[0].read_bytes()[:3000])
    lines = [f"{path},{path.name[0]},{path.stem.split('-')[2]}" for path in media]
    lines += [f"{broken},7,fear", f"{tmp_path}/nobody.wav,7,fear", f"{media[0].parent}/0-0-fear.wav,0,sorrow"]
    (tmp_path / "clips.csv").write_text("file,subject,emotion\n" + "\n".join(lines[:-1]) + "\n")
    predicted = predict_files(series, [tmp_path / "clips.csv"])
    table = predicted.files.to_pandas().set_index("file")
    assert len(table) == 11 and predicted.n_rejects == 2 and predicted.reasons == {"truncated": 1, "missing": 1}
    assert "line 12" in table["detail"].iloc[-1]
    members = [load_run(series / "seed-0" / f"fold-{fold}") for fold in (0, 1)]
    truth, mean = [], []
    for path in media:
        row = table.loc[str(path)]
        alone = [member(audio=path) for member in members]
        expected = {name: np.mean([one[name] for one in alone]) for name in members[0].names}
        assert {name: row[f"p_{name}"] for name in expected} == pytest.approx(expected, abs=1e-6)
        assert row["prediction"] == max(expected, key=expected.get)
        assert (row["used"], row["missing"], row["truth"]) == ("audio", "", path.stem.split("-")[2])
        truth.append(members[0].names.index(row["truth"]))
        mean.append(list(expected.values()))
    for member in members:
        member.close()
    assert predicted.scores["n"] == 9
    hits = [[np.argmax(p) == t for p, t in zip(mean, truth) if t == k] for k in sorted(set(truth))]
    assert predicted.scores["uar"] == pytest.approx(np.mean([np.mean(one) for one in hits]))
    assert not list((cache_folder().parent / "predict").iterdir()), "nothing is left once all is answered"


@pytest.mark.slow
def test_windows_give_a_track_and_their_mean_is_the_answer(run, place, tmp_path):
    sound = np.concatenate([noise(k, seed) for seed, k in enumerate((0, 0, 2, 2, 1))])  # 1.5 s
    path = write_wav(tmp_path / "long.wav", sound, RATE_HZ)
    predicted = predict_files(run, [path], window=Windows(seconds=0.6, hop_s=0.3))
    track, (row,) = predicted.track.to_pandas(), predicted.files.to_pylist()
    assert track["start_s"].tolist() == pytest.approx([0, 0.3, 0.6, 0.9])
    assert track["end_s"].tolist() == pytest.approx([0.6, 0.9, 1.2, 1.5])
    with load_run(run) as recogniser:
        for window in track.to_dict("records"):
            alone = recogniser(audio=Medium(path=path, start_s=window["start_s"], end_s=window["end_s"]))
            assert {name: window[f"p_{name}"] for name in alone} == pytest.approx(alone, abs=1e-6)
    for name in recogniser.names:
        assert row[f"p_{name}"] == pytest.approx(track[f"p_{name}"].mean(), abs=1e-6)
    assert row["uncertainty"] == pytest.approx(
        -sum(p * np.log(p) for n in recogniser.names if (p := row[f"p_{n}"])), abs=1e-6
    )
    assert math.isnan(row["epistemic"]), "one run alone cannot say"


@pytest.mark.slow
def test_dimensions_have_a_spread_over_the_runs(tmp_path):
    series = write_series(tmp_path, dimensions=True)
    predicted = predict_files(series, [tmp_path / "media"])
    table = predicted.files.to_pandas()
    assert {"arousal", "valence", "sd_arousal", "sd_valence"} <= set(table.columns) and "prediction" not in table
    alone = [
        predict_files(run, [tmp_path / "media"]).files.to_pandas()["arousal"] for run in sorted(series.glob("seed-0/*"))
    ]
    np.testing.assert_allclose(table["arousal"], np.mean(alone, axis=0), atol=1e-6)
    np.testing.assert_allclose(table["sd_arousal"], np.std(alone, axis=0, ddof=1), atol=1e-6)
    louder = table[table["clip"].str.contains("neutral")]["arousal"].mean()
    assert louder < table[table["clip"].str.contains("anger")]["arousal"].mean()


@pytest.mark.slow
def test_what_a_file_lacks_in_some_windows_is_told(run, tmp_path):
    sound = np.concatenate([noise(2, 0), np.zeros(RATE_HZ, np.float32), noise(2, 1)])  # 1.6 s, silent in the middle
    write_wav(tmp_path / "pause.wav", sound, RATE_HZ)
    (tmp_path / "clips.csv").write_text("audio,video\npause.wav,nobody.mp4\n")
    predicted = predict_files(run, [tmp_path / "clips.csv"], window=Windows(seconds=0.2))
    (row,) = predicted.files.to_pylist()
    assert predicted.track.to_pandas()["reject"].eq("silent").sum() == 4
    assert "4 of 8 windows without an answer: 4 silent" in row["missing"] and row["reject"] is None
    assert row["missing"].endswith("; nobody.mp4: missing")


@pytest.mark.slow
def test_a_film_without_sound_is_told_and_the_notes_say_what_the_model_is(run, tmp_path):
    silent = write_movie(tmp_path / "film.mp4", 0.5, audio=None)
    voiced = write_movie(tmp_path / "voiced.mp4", 0.5, rate_hz=16_000)
    predicted = predict_files(run, [tmp_path])
    rows = {row["clip"]: row for row in predicted.files.to_pylist()}
    assert rows[silent]["reject"] == "no-audio-stream" and rows[silent]["missing"] == "loudness: no-audio-stream"
    assert rows[voiced]["reject"] is None and rows[voiced]["used"] == "audio"
    assert any("no temperature was fitted" in note for note in predicted.notes)


@pytest.mark.slow
def test_people_with_clips_enough_are_standardised_by_them(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "ENOUGH_CLIPS", 4)
    monkeypatch.setattr(notes, "ENOUGH_CLIPS", 4)
    series = write_series(tmp_path, normalise="speaker")
    media = sorted((tmp_path / "media").iterdir())
    people = ["quiet"] * 6 + ["once"]
    lines = [f"{path},{person}" for path, person in zip(media, people)]
    (tmp_path / "clips.csv").write_text("file,subject\n" + "\n".join(lines) + "\n")
    run = series / "seed-0" / "fold-0"
    predicted = predict_files(run, [tmp_path / "clips.csv"])
    assert any("6 of 7 clips are, of people with 4 clips or more" in note for note in predicted.notes)
    with load_run(run) as recogniser:
        frames = [recogniser.frames({"audio": path}) for path in media[:7]]
        strangers = recogniser.predict(frames, ["table/nobody"] * 7)
        column = InMemory(recogniser.specs["loudness"], [one["loudness"] for one in frames])
        recogniser.get_to_know({"loudness": column}, [f"table/{one}" for one in people], frozenset(["table/quiet"]))
        known = recogniser.predict(frames, [f"table/{one}" for one in people])
    found = predicted.files.select([f"p_{name}" for name in recogniser.names]).to_pandas().to_numpy()
    np.testing.assert_allclose(found, known, atol=1e-6)
    assert np.abs(known[:6] - strangers[:6]).max() > 1e-3
    np.testing.assert_allclose(known[6], strangers[6], atol=1e-6)


def test_moments_of_new_people_are_those_that_training_would_have_found():
    spec = FeatureSpec(name="f", version=1, modality="audio", shape=(2,), hop_s=0.1)
    rng = np.random.default_rng(0)
    frames = [Frames(rng.normal(k, 1, (5, 2)).astype(np.float32), np.arange(5) > 0) for k in range(4)]
    column, subjects = {"f": InMemory(spec, frames)}, ["a", "b", "b", "c"]
    train = np.array([0])
    wanted = fit_normaliser(column, subjects, train, by_speaker=True).moments["f"]
    known = fit_normaliser(column, subjects, train, by_speaker=False).knowing(column, subjects, {"b", "nobody"})
    assert known.moments["f"].keys() == {EVERYBODY, "b"}
    np.testing.assert_array_equal(known.moments["f"]["b"].mean, wanted["b"].mean)
    np.testing.assert_array_equal(known.moments["f"]["b"].spread, wanted["b"].spread)


# ---------------------------------------------------------------------- files


@pytest.mark.slow
def test_the_answers_are_the_same_in_each_format(run, place, tmp_path):
    predicted = predict_files(run, sorted((place / "media").iterdir())[:3], window=Windows(seconds=0.2, hop_s=0.1))
    written = [
        path
        for name in ("a.csv", "a.json", "a.jsonl", "a.parquet")
        for path in write_output(predicted, str(tmp_path / name))
    ]
    assert sorted(Path(path).name for path in written) == sorted(
        ("a.csv", "a.track.csv", "a.json", "a.jsonl", "a.parquet", "a.track.parquet")
    )
    wanted = predicted.files.to_pandas()
    whole = json.loads((tmp_path / "a.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert whole["files"] == lines and [len(one["track"]) for one in lines] == [2, 2, 2]
    assert whole["files"][0]["epistemic"] is None
    for found in (
        pd.read_csv(tmp_path / "a.csv"),
        pd.read_parquet(tmp_path / "a.parquet"),
        pd.DataFrame(lines).drop(columns="track"),
    ):
        pd.testing.assert_frame_equal(
            found[["clip", "prediction", "p_anger", "used"]], wanted[["clip", "prediction", "p_anger", "used"]]
        )
    about = json.loads(pa.parquet.read_schema(tmp_path / "a.parquet").metadata[b"mien.predicted"])
    assert about["run"] == str(run) and about["members"] == 1


@pytest.mark.parametrize(
    ("path", "there", "said"),
    [
        ("a.xlsx", (), r"out .*a\.xlsx: \.xlsx is no format of answers; give \.csv"),
        ("a", (), "no suffix is no format"),
        ("a.csv", ("a.csv",), "is there already"),
        ("a.csv", ("a.track.csv",), r"a\.track\.csv: is there already"),
        ("in.csv", (), "is one of the files to predict"),
    ],
)
def test_where_answers_cannot_go_is_said_before_any_work(tmp_path, path, there, said):
    for name in there:
        (tmp_path / name).write_text("mine")
    (tmp_path / "in.csv").touch()
    with pytest.raises(MienError, match=said):
        check_output(str(tmp_path / path), [f"{tmp_path}/in*.csv"], overwrite=False, with_track=True)
    if there:
        check_output(str(tmp_path / path), [], overwrite=True, with_track=True)


# ---------------------------------------------------------------------- mistakes


def test_files_that_are_not_there_are_told(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MienError, match="files: none is named"):
        read_recordings([])
    with pytest.raises(MienError, match="no such file: check the path"):
        read_recordings([tmp_path / "a.wav"])
    with pytest.raises(MienError, match="matches no file"):
        read_recordings([f"{tmp_path}/**/*.wav"])
    with pytest.raises(CorpusError, match="no media files below it"):
        read_recordings([tmp_path / "empty"])
    with pytest.raises(MienError, match=r"no recording that can be used; the first: .*notes\.txt: \.txt is no format"):
        read_recordings([tmp_path / "notes.txt"])


def test_a_cluster_needs_a_store_that_its_nodes_reach(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    with pytest.raises(
        MienError, match=r"store: RAY_ADDRESS is 127\.0\.0\.1:6379, and the nodes of a cluster cannot reach"
    ):
        predict_files(tmp_path, [tmp_path])


def test_files_folders_globs_and_tables_are_taken_once_and_in_order(tmp_path):
    for name in ("b.wav", "a.wav", "deep/c.flac", "deep/d.mp4", "deep/.hidden.wav", "deep/notes.md", "empty.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "empty.wav" else b"x")
    found = read_recordings([tmp_path / "b.wav", f"{tmp_path}/*.wav", tmp_path / "deep"])
    names = [Path(name).name for name in found.clips]
    assert names == ["b.wav", "a.wav", "c.flac", "d.mp4"]
    assert [(Path(one.path).name, one.reason) for one in found.rejects] == [("empty.wav", "empty")]
    assert set(found.clips[str(tmp_path / "deep/d.mp4")].media) == {"audio", "video"}
    (tmp_path / "pairs.csv").write_text("audio,video,who\nb.wav,deep/d.mp4,x\nnobody.wav,,y\n")
    table = read_recordings([tmp_path / "pairs.csv"], Settings(rename={"who": "subject"}))
    (clip,) = table.clips.values()
    assert (clip.subject, Path(clip.media["audio"].path).name, Path(clip.media["video"].path).name) == (
        "table/x",
        "b.wav",
        "d.mp4",
    )
    assert [one.reason for one in table.rejects] == ["missing"]
    (tmp_path / "again.csv").write_text("file\nb.wav\n")
    assert list(read_recordings([tmp_path / "again.csv", tmp_path / "again.csv"]).clips) == ["b", "b (2)"]


@pytest.mark.slow
def test_a_run_that_cannot_be_used_is_told(place, series, run, tmp_path):
    torn = tmp_path / "seed-0" / "fold-0"
    shutil.copytree(run, torn)
    (torn / "DONE").unlink()
    with pytest.raises(MienError, match="is not finished, it has no DONE"):
        load_ensemble(torn)
    with pytest.raises(MienError, match="none of its 1 runs is finished"):
        load_ensemble(tmp_path)
    with pytest.raises(MienError, match="no finished run here"):
        load_ensemble(tmp_path / "seed-0" / "nothing")
    shutil.copytree(series / "seed-0" / "fold-1", tmp_path / "seed-0" / "fold-1")
    half = load_ensemble(tmp_path)
    assert len(half.members) == 1 and half.unfinished == (str(torn),)
    assert len(load_ensemble(series.parent).members) == 2, "an experiment's folder with one series"
    with pytest.raises(MienError, match=r"dropout 3: the models of this run \(svm\) have none to draw"):
        predict_files(run, [next((place / "media").iterdir())], dropout=3)
    with pytest.raises(MienError, match="dropout -1: give how often"):
        predict_files(run, [next((place / "media").iterdir())], dropout=-1)
    eeg = tmp_path / "a.bdf"
    eeg.write_bytes(b"\xffBIOSEMI")
    with pytest.raises(
        ExperimentError, match="media eeg, physio: none of the files has what this run reads, which is audio"
    ):
        predict_files(run, [eeg])


@pytest.mark.slow
def test_the_command_prints_answers_and_fails_where_there_is_none(run, place, tmp_path, capsys):
    words = ["predict", str(run), str(next((place / "media").iterdir())), "--out", str(tmp_path / "a.csv")]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "1 of 1 files answered by 1 run" in said.out and str(tmp_path / "a.csv") in said.out
    assert main(words) == 2 and "--out" in capsys.readouterr().err
    assert main([*words[:3], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["prediction"] in EMOTIONS
    (tmp_path / "noise.wav").write_bytes(b"RIFF0000WAVEfmt ")
    assert main(["predict", str(run), str(tmp_path / "noise.wav")]) == 2
    assert "none of 1 files could be used; the first:" in capsys.readouterr().err
    assert main([*words[:3], "--hop", "1"]) == 2 and "--hop 1: says how far" in capsys.readouterr().err
    assert main([*words[:3], "--window", "0"]) == 2 and "--window 0: give more than 0" in capsys.readouterr().err


# ---------------------------------------------------------------------- parts


def test_uncertainty_is_that_of_the_mean_and_of_the_members():
    samples = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]], np.float32)
    found = uncertainty(samples, TargetSpec("classes", ("a", "b"), "uar"))
    np.testing.assert_allclose(found["uncertainty"], np.log([2, 2]), rtol=1e-9)
    np.testing.assert_allclose(found["aleatoric"], [0, math.log(2)], atol=1e-9)
    np.testing.assert_allclose(found["epistemic"], [math.log(2), 0], atol=1e-9)
    alone = uncertainty(samples[:1], TargetSpec("dimensions", ("v", "a"), "ccc"))
    assert np.isnan(alone["sd_v"]).all()


@pytest.mark.parametrize(
    ("seconds", "window_s", "hop_s", "spans"),
    [
        (10.0, 4.0, 3.0, [(0, 4), (3, 7), (6, 10)]),
        (10.3, 4.0, 1.0, [(0, 4), (1, 5), (2, 6), (3, 7), (4, 8), (5, 9), (6, 10), (7, 10.3)]),
        (9.0, 4.0, 4.0, [(0, 4), (4, 8)]),
        (10.5, 4.0, 4.0, [(0, 4), (4, 8), (8, 10.5)]),
        (1.0, 4.0, 2.0, [(0, 1)]),
        (12.0, 2.0, 5.0, [(0, 2), (5, 7), (10, 12)]),
    ],
)
def test_windows_cover_a_clip(seconds, window_s, hop_s, spans):
    clip = Clip(id="c", corpus="c", subject="c/unknown", media={"audio": Medium(path="a.wav")})
    found = windows(clip, window_s, hop_s, lambda path: seconds)
    assert [(start, end) for start, end, _ in found] == [pytest.approx(span) for span in spans]
    for start, end, part in found:
        assert (part.media["audio"].start_s, part.media["audio"].end_s) == pytest.approx((start, end))
    assert len({part.id for _, _, part in found}) == len(spans)


def test_windows_keep_media_on_the_clock_of_the_clip():
    media = {
        "audio": Medium(path="a.wav", start_s=5.0, end_s=15.0),
        "video": Medium(path="v.mp4", offset_s=3.0),
        "openface": Medium(path="t.csv"),
    }
    clip = Clip(id="c", corpus="c", subject="c/unknown", media=media)
    lengths = {"v.mp4": 4.0, "t.csv": None}
    found = [part.media for _, _, part in windows(clip, 2.0, 2.0, lengths.__getitem__)]
    assert [(one["audio"].start_s, one["audio"].end_s) for one in found] == [
        (5, 7),
        (7, 9),
        (9, 11),
        (11, 13),
        (13, 15),
    ]
    seen = [
        (one["video"].start_s, one["video"].end_s, one["video"].offset_s) if "video" in one else None for one in found
    ]
    assert seen == [None, (0, 1, 1), (1, 3, 0), (3, 4, 0), None]
    assert all(one["openface"] == media["openface"] for one in found)


def test_labels_are_scored_in_the_words_of_the_model():
    target = TargetSpec("classes", ("anger", "neutral"), "uar")

    def clip(emotion):
        return Clip(id="c", corpus="c", subject="c/1", media={}, labels=(Label(source="annotated", emotion=emotion),))

    assert [truth_of(clip(word), target) for word in ("anger", "calm", "joy", None)] == [0, 1, None, None]
    values = np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan], [0.8, 0.2]])
    found = scores([0, 1, 0, None], values, ["a", "b", "a", "a"], target)
    assert (found["n"], found["uar"], found["n_subjects"]) == (2, 1.0, 2)
    assert scores([None] * 4, values, ["a"] * 4, target) is None
