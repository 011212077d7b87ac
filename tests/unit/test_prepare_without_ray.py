"""prepare: what it refuses before anything is started or written, and what it does again; without Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mien.cli.main import main
from mien.cli.terminal import prepared
from mien.connection import Cluster
from mien.errors import CorpusError, ExperimentError, MienError
from mien.features import prepare as preprocess
from mien.features.extractors.openface import ACTION_UNITS
from mien.features.prepare import PreparedFeature, prepare
from mien.features.store import FeatureStore
from mien.features.worker import Outcome, PartExtractor, tasks_from_table
from tiny_corpus import write_corpus

LOUDNESS = "tiny_extractors:loudness"


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
    with pytest.raises(MienError, match=f"^--limit {limit}: give at least 1"):
        prepare("ravdess", tmp_path / "root", tmp_path / "store", [LOUDNESS], limit=limit)
    assert not (tmp_path / "store").exists()


def test_no_feature_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="^--features: none is named; choose from egemaps, "):
        prepare("ravdess", tmp_path, tmp_path / "store", [])


def test_action_units_without_their_files_are_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path / "root", 2)
    with pytest.raises(ExperimentError, match="^--features openface-clip: .* with --openface$"):
        prepare("ravdess", tmp_path / "root", tmp_path / "store", ["openface-clip"])
    assert not (tmp_path / "store").exists()


# ---------------------------------------------------------------------- what is done again


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batches go to one extractor here, where Ray would send them to many."""

    @contextmanager
    def connected(**_: Any) -> Iterator[Cluster]:
        yield Cluster(address="", embedded=True, n_cpus=1, n_gpus=0, startup_s=0.0)

    def stream(_: str, job: Any, batches: Sequence[pa.Table], workers: int) -> Iterator[list[Outcome]]:
        extract = PartExtractor(job.parts, job.name, job.settings)
        for batch in batches:
            yield extract(tasks_from_table(batch))

    monkeypatch.setattr(preprocess.cluster, "connected", connected)
    monkeypatch.setattr(preprocess, "_stream", stream)


def write_units(path: Path, clip_ids: Sequence[str], value: str = "1") -> str:
    rows = [",".join([f"03-{clip_id.removeprefix('ravdess/')}", *[value] * len(ACTION_UNITS)]) for clip_id in clip_ids]
    path.write_text("\n".join([",".join(["clip", *ACTION_UNITS]), *rows]))
    return str(path)


def counts(feature: PreparedFeature) -> tuple[int, int, int, int]:
    return feature.n_rows, feature.n_rejects, feature.n_extracted, feature.n_rejected


def test_a_clip_that_lacked_its_medium_is_tried_again_when_it_has_it(
    tmp_path: Path, in_this_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    clip_ids = write_corpus(tmp_path / "root", 8)

    def ask(n_clips: int, value: str = "1", **options: Any) -> PreparedFeature:
        table = write_units(tmp_path / f"{n_clips}{value}.csv", clip_ids[:n_clips], value)
        summary = prepare(
            "ravdess", tmp_path / "root", tmp_path / "store", ["openface-clip"], openface=table, **options
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


def test_a_feature_of_which_every_clip_is_rejected_is_no_success(
    tmp_path: Path, in_this_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    clip_ids = write_corpus(tmp_path / "root", 2)
    words = ["prepare", "ravdess", str(tmp_path / "root"), "--store", str(tmp_path / "store")]
    words += ["--features", "openface-clip", "--openface"]
    assert main([*words, write_units(tmp_path / "a.csv", clip_ids, "none")]) == 2
    said = capsys.readouterr()
    assert "2 clips rejected: bad-table" in said.out
    (folder,) = (tmp_path / "store" / "ravdess").glob("openface-clip-*")
    assert said.err.splitlines()[-1] == (
        f"mien: openface-clip: all 2 clips were rejected; {folder}/rejects.parquet says why"
    )
    assert main([*words, write_units(tmp_path / "b.csv", clip_ids), "--retry-rejects"]) == 0
