"""prepare: what it refuses before anything is started or written, and what it does again; without Ray."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from mien.cli.features import prepare_command
from mien.cli.main import main
from mien.cli.summaries import prepared
from mien.errors import CorpusError, ExperimentError, MienError
from mien.features.extractors.openface import ACTION_UNITS
from mien.features.prepare import Prepared, PreparedFeature, PrepareProgress, prepare
from mien.features.store import FeatureStore
from tiny_corpus import wav_of, write_corpus
from tiny_extractors import Counted
from tiny_media import tone, write_wav

LOUDNESS = "tiny_extractors:Loudness"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Actor_01/03-01-05-01-01-01-01.wav", "none of 2 files has a name of cremad; is this ravdess?"),
        ("holiday.avi", "none of 2 files has a name of cremad; the first is holiday.avi: "),
        ("1001_IEO_ANG_HI.wav", "none of 2 files became a clip of cremad: 1 wrong-folder, 1 bad-name, the first is "),
    ],
)
def test_a_root_without_a_clip_of_the_corpus_leaves_the_store_as_it_was(
    tmp_path: Path, name: str, message: str
) -> None:
    for file in (name, "interview.wav"):
        (tmp_path / "root" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / file).write_bytes(b"x")
    with pytest.raises(CorpusError) as error:
        prepare("cremad", tmp_path / "root", tmp_path / "store", [LOUDNESS])
    assert str(error.value).startswith(f"{tmp_path}/root: {message}")
    assert not FeatureStore(tmp_path / "store").corpora()


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(tmp_path: Path, limit: int) -> None:
    write_corpus(tmp_path / "root", 2)
    with pytest.raises(MienError, match=f"^limit {limit}: give at least 1"):
        prepare("ravdess", tmp_path / "root", tmp_path / "store", [LOUDNESS], limit=limit)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("limits", [{"clip_limit_s": 0.0}, {"clip_limit_mb": -1}])
def test_a_clip_that_may_take_nothing_is_refused(tmp_path: Path, limits: dict[str, Any]) -> None:
    write_corpus(tmp_path / "root", 2)
    with pytest.raises(MienError, match=r"^clip_limit_s .*, clip_limit_mb .*: give more than 0"):
        prepare("ravdess", tmp_path / "root", tmp_path / "store", [LOUDNESS], **limits)
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_the_limits_of_a_clip_reach_its_decoder_from_the_command_line(tmp_path: Path, in_this_process: None) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    clip_ids = write_corpus(root, 3)
    write_wav(wav_of(root, clip_ids[1]), tone(10.0, 16_000), 16_000)
    words = ["prepare", "ravdess", str(root), "--store", str(store), "--features", LOUDNESS]
    assert main([*words, "--clip-limit-mb", "1"]) == 0
    opened = FeatureStore(store)
    (reject,) = opened.rejects("ravdess", opened.spec("ravdess", "loudness"))
    assert (reject.id, reject.reason) == (clip_ids[1], "too-large")
    assert reject.detail.endswith("than the 1 MB that a clip may take; cut it into stretches, or raise clip_limit_mb")
    assert main([*words, "--retry-rejects"]) == 0
    assert not opened.rejects("ravdess", opened.spec("ravdess", "loudness"))


def test_the_command_has_the_limits_of_the_library() -> None:
    command, library = signature(prepare_command([])).parameters, signature(prepare).parameters
    assert all(command[name].default == library[name].default for name in ("clip_limit_s", "clip_limit_mb"))


def test_no_feature_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="^features: none is named; choose from .*egemaps, "):
        prepare("ravdess", tmp_path, tmp_path / "store", [])


@pytest.mark.slow
def test_a_feature_whose_medium_no_clip_has_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path / "root", 2)
    with pytest.raises(ExperimentError) as error:
        prepare("ravdess", tmp_path / "root", tmp_path / "store", ["openface-clip"])
    assert str(error.value) == (
        "features 'openface-clip': reads the medium 'openface', which no clip of ravdess has: attach a table or a folder "
        "of it by that name"
    )
    assert not (tmp_path / "store").exists()


# ---------------------------------------------------------------------- what is done again


def write_units(path: Path, clip_ids: Sequence[str], value: str = "1") -> str:
    rows = [",".join([f"03-{clip_id.removeprefix('ravdess/')}", *[value] * len(ACTION_UNITS)]) for clip_id in clip_ids]
    path.write_text("\n".join([",".join(["clip", *ACTION_UNITS]), *rows]))
    return str(path)


def counts(feature: PreparedFeature) -> tuple[int, int, int, int]:
    return feature.n_rows, feature.n_rejects, feature.n_extracted, feature.n_rejected


@pytest.mark.slow
def test_a_clip_that_lacked_its_medium_is_tried_again_when_it_has_it(
    tmp_path: Path, in_this_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    clip_ids = write_corpus(tmp_path / "root", 8)

    def ask(n_clips: int, value: str = "1", **options: Any) -> PreparedFeature:
        table = write_units(tmp_path / f"{n_clips}{value}.csv", clip_ids[:n_clips], value)
        summary = prepare(
            "ravdess", tmp_path / "root", tmp_path / "store", ["openface-clip"], attach={"openface": table}, **options
        )
        prepared(summary)
        return summary.features[0]

    assert counts(ask(3)) == (3, 5, 5 + 3, 5)
    told = capsys.readouterr().out
    assert "openface-clip: see ravdess/openface-clip-v1-" in told and "--retry-rejects" not in told
    assert counts(ask(3)) == (3, 5, 0, 0)
    assert "rejects.parquet; 5 are from before, --retry-rejects tries them again" in capsys.readouterr().out
    assert counts(ask(6)) == (6, 2, 3, 0)
    # What is rejected for another reason is known by that one from now on, and left alone.
    assert counts(ask(8, "none")) == (6, 2, 2, 2)
    assert counts(ask(8)) == (6, 2, 0, 0)
    store = FeatureStore(tmp_path / "store")
    assert {reject.reason for reject in store.rejects("ravdess", store.spec("ravdess", "openface-clip"))} == {
        "bad-table"
    }
    assert counts(ask(8, retry_rejects=True)) == (8, 0, 2, 0)
    assert store.verify("ravdess") == []


@pytest.mark.slow
def test_a_feature_of_which_every_clip_is_rejected_is_no_success(
    tmp_path: Path, in_this_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    clip_ids = write_corpus(tmp_path / "root", 2)
    words = ["prepare", "ravdess", str(tmp_path / "root"), "--store", str(tmp_path / "store")]
    words += ["--features", "openface-clip", "--attach"]
    assert main([*words, f"openface={write_units(tmp_path / 'a.csv', clip_ids, 'none')}"]) == 2
    said = capsys.readouterr()
    assert "2 clips rejected: bad-table" in said.out
    (folder,) = (tmp_path / "store" / "ravdess").glob("openface-clip-*")
    assert said.err.splitlines()[-1] == (
        f"mien: openface-clip: all 2 clips were rejected; {folder}/rejects.parquet says why"
    )
    assert main([*words, f"openface={write_units(tmp_path / 'b.csv', clip_ids)}", "--retry-rejects"]) == 0


# ---------------------------------------------------------------------- several features in one pass


def counted(tmp_path: Path, name: str) -> tuple[str, Counted]:
    return "tiny_extractors:Counted", Counted(log=str(tmp_path / f"{name}.log"), called=name)


def n_tried(tmp_path: Path, name: str) -> int:
    log = tmp_path / f"{name}.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.slow
def test_each_feature_gets_what_it_lacks_and_no_more(tmp_path: Path, in_this_process: None) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    write_corpus(root, 5)
    prepare("ravdess", root, store, [counted(tmp_path, "a")])
    write_corpus(root, 4, first=5)
    seen: list[PrepareProgress] = []
    features = [counted(tmp_path, "a"), LOUDNESS, counted(tmp_path, "b")]
    found = prepare("ravdess", root, store, features, on_progress=seen.append)
    assert [counts(feature) for feature in found.features] == [(9, 0, 4, 0), (9, 0, 9, 0), (9, 0, 9, 0)]
    assert [n_tried(tmp_path, name) for name in "ab"] == [9, 9]
    assert [feature.n_workers for feature in found.features] == [1, 1, 1]
    for name, n_before in (("a", 5), ("loudness", 0), ("b", 0)):
        n_done = [progress.n_done for progress in seen if progress.feature == f"ravdess-{name}"]
        assert n_done[0] == n_before and n_done[-1] == 9 and n_done == sorted(n_done)
    opened = FeatureStore(store)
    assert opened.verify("ravdess") == []
    tables = [opened.load("ravdess", opened.spec("ravdess", name)) for name in ("a", "b", "loudness")]
    assert all((table.values == tables[0].values).all() for table in tables)
    again = prepare("ravdess", root, store, features)
    assert [counts(feature) for feature in again.features] == [(9, 0, 0, 0)] * 3
    assert [feature.n_workers for feature in again.features] == [0, 0, 0]


@pytest.mark.slow
def test_a_failing_extractor_rejects_its_own_feature_only(tmp_path: Path, in_this_process: None) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    clip_ids = write_corpus(root, 6)
    wav_of(root, clip_ids[1]).write_bytes(wav_of(root, clip_ids[1]).read_bytes()[:44])
    faulty = ("tiny_extractors:Faulty", {"called": "faulty"})
    found = prepare("ravdess", root, store, [faulty, LOUDNESS])
    assert [counts(feature) for feature in found.features] == [(0, 6, 6, 6), (5, 1, 6, 1)]
    assert found.features[0].reasons == {"unexpected-error": 5, "empty": 1}
    assert found.features[1].reasons == {"empty": 1}
    again = prepare("ravdess", root, store, [faulty, LOUDNESS, counted(tmp_path, "a")], retry_rejects=True)
    assert [counts(feature) for feature in again.features] == [(0, 6, 6, 6), (5, 1, 1, 1), (5, 1, 6, 1)]
    assert n_tried(tmp_path, "a") == 5


@pytest.mark.slow
def test_the_time_of_one_pass_is_shared_among_its_features(tmp_path: Path, in_this_process: None) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    write_corpus(root, 7)
    found = prepare("ravdess", root, store, [counted(tmp_path, "a"), counted(tmp_path, "b")])
    first, second = found.features
    assert first.work_s == pytest.approx(second.work_s) and first.startup_s == second.startup_s
    opened = FeatureStore(store)
    notes = [opened.feature_folder("ravdess", opened.spec("ravdess", name)).work() for name in "ab"]
    assert [note["work_s"] for (note,) in notes] == [first.work_s, second.work_s]


@pytest.mark.slow
def test_a_finished_feature_can_be_built_again(tmp_path: Path, in_this_process: None) -> None:
    from mien.features.extractors import build

    root, store = tmp_path / "root", FeatureStore(tmp_path / "store")
    write_corpus(root, 3)
    prepare("ravdess", root, tmp_path / "store", [counted(tmp_path, "a"), ("egemaps", {"hop_s": 0.2})])
    for name, settings in (("a", {"log": str(tmp_path / "a.log"), "seconds": 0.0, "called": "a"}), ("egemaps", None)):
        spec = store.spec("ravdess", name)
        recipe = store.recipe("ravdess", spec)
        assert recipe is not None and recipe["medium"] == "audio"
        assert build(recipe["name"], **recipe["settings"]).spec == spec
        assert settings is None or recipe["settings"] == settings
    assert store.recipe("ravdess", store.spec("ravdess", "egemaps"))["settings"]["hop_s"] == 0.2  # type: ignore[index]


@pytest.mark.slow
def test_files_that_became_no_clip_are_counted_by_reason(
    tmp_path: Path, in_this_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    clip_ids = write_corpus(tmp_path / "root", 2)
    for name in ("a.opus", "b.opus", f"{'n' * 250}.wav"):
        (wav_of(tmp_path / "root", clip_ids[0]).parent / name).write_bytes(b"x")
    found = prepare("ravdess", tmp_path / "root", tmp_path / "store", [LOUDNESS])
    assert found.import_reasons == {"unknown-suffix": 2, "bad-name": 1}
    prepared(found)
    assert "3 files became no clip (2 unknown-suffix, 1 bad-name): see ravdess/rejects" in capsys.readouterr().out


@pytest.mark.slow
def test_nothing_is_shown_unless_it_is_asked_for(
    tmp_path: Path, in_this_process: None, capfd: pytest.CaptureFixture[str]
) -> None:
    write_corpus(tmp_path / "root", 3)
    found = prepare("ravdess", tmp_path / "root", tmp_path / "store", [LOUDNESS])
    assert isinstance(found, Prepared) and capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_limited_corpus_is_its_first_clips_and_the_rest_comes_later(tmp_path: Path, in_this_process: None) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    clip_ids = write_corpus(root, 7)
    assert counts(prepare("ravdess", root, store, [LOUDNESS], limit=3).features[0]) == (3, 0, 3, 0)
    assert [clip.id for clip in FeatureStore(store).clips("ravdess")] == clip_ids[:3]
    assert counts(prepare("ravdess", root, store, [LOUDNESS]).features[0]) == (7, 0, 4, 0)
    assert counts(prepare("ravdess", root, store, [LOUDNESS], fresh=True).features[0]) == (7, 0, 7, 0)
