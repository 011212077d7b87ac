"""What every corpus module promises, tried on the samples of all that are registered."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mien import corpora
from mien.corpora import CORPORA, load, remote
from mien.corpora.clip import Clip, Reject, clips_from_table, clips_to_table
from mien.corpora.emotions import FIELD_WORDS
from mien.corpora.fetch.sources import check, of_corpus
from mien.corpora.sample.write import samples, write_sample
from mien.errors import CorpusError
from mien.folder import Folder

pytestmark = pytest.mark.slow

every_corpus = pytest.mark.parametrize("name", CORPORA)

Roots = Callable[[str], Path]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """From a corpus to its sample, written when it is first asked for: one clip per emotion of one subject."""
    folder = tmp_path_factory.mktemp("sample")

    def root(name: str) -> Path:
        assert name in samples(), (
            f"{load(name).__name__} names no SAMPLE: write the module that makes a small synthetic corpus "
            "(docs/how-to/add-a-corpus.md, step 3)"
        )
        return write_sample(folder, (name,), n_subjects=1, n_per_emotion=1)[name]

    return root


@pytest.mark.parametrize("name", [name for name in CORPORA if hasattr(load(name), "sources")])
def test_what_is_listed_for_download_is_safe_and_has_a_place_of_its_own(name: str) -> None:
    listed = of_corpus(name)
    check(listed, name)
    assert all(source.url.startswith("https://") for source in listed)
    for source in listed:
        assert len(source.sha256 or "0" * 64) == 64 and len(source.md5 or "0" * 32) == 32, source.path


def clips_of(name: str, root: Path) -> list[Clip]:
    records = list(load(name).import_clips(root))
    assert [record for record in records if isinstance(record, Reject)] == []
    return [record for record in records if isinstance(record, Clip)]


def test_every_module_of_the_registry_is_a_corpus() -> None:
    """Each name of CORPORA leads to a module with the functions and constants of `mien.corpora.Corpus`."""
    assert {"ravdess", "cremad"} <= CORPORA.keys()
    for name, module_name in CORPORA.items():
        module = load(name)
        assert module.__name__ == module_name
        assert list(inspect.signature(module.import_clips).parameters) == ["root", "settings"], name
        root, on_file, *asked = inspect.signature(module.verify).parameters
        assert (root, on_file) == ("root", "on_file"), name
        assert asked in ([], ["settings"] if hasattr(module, "Settings") else []), name
        assert module.SUFFIXES, name
        for suffix in (*module.SUFFIXES, *getattr(module, "TABLE_SUFFIXES", ())):
            assert suffix == suffix.lower(), f"{name}: {suffix} must be in lower case"
            assert suffix.startswith("."), f"{name}: {suffix} must start with a dot"
        if settings := getattr(module, "Settings", None):
            assert dataclasses.is_dataclass(settings), name
            assert settings.__dataclass_params__.frozen, f"{name}: Settings must be frozen"
            settings()  # each has a default


def test_every_module_in_the_folder_that_imports_clips_is_registered() -> None:
    folder = Path(corpora.__file__).parent
    files = {path.stem: path for path in folder.glob("*.py")} | {
        path.parent.name: path for path in folder.glob("*/__init__.py")
    }
    modules = {name for name, path in files.items() if "\ndef verify(" in path.read_text()}
    assert {f"mien.corpora.{name}" for name in modules} == set(CORPORA.values())


@every_corpus
def test_clips_are_sorted_unique_and_the_same_each_time(name: str, roots: Roots) -> None:
    clips = clips_of(name, roots(name))
    ids = [clip.id for clip in clips]
    assert ids
    assert ids == sorted(set(ids))
    assert clips == clips_of(name, roots(name))


@every_corpus
def test_names_carry_the_corpus(name: str, roots: Roots) -> None:
    for clip in clips_of(name, roots(name)):
        assert clip.corpus == name
        for value in (clip.id, clip.subject, *clip.groups.values()):
            assert value.startswith(f"{name}/"), value
            assert value != f"{name}/"
        assert "subject" not in clip.groups


@every_corpus
def test_each_medium_is_a_file_with_a_suffix_of_the_corpus(name: str, roots: Roots) -> None:
    for clip in clips_of(name, roots(name)):
        assert clip.media
        for medium in clip.media.values():
            path = Path(medium.path)
            assert path.is_absolute()
            assert path.is_file()
            assert path.suffix in load(name).SUFFIXES


@every_corpus
def test_the_name_of_a_file_leads_to_its_clip_where_the_corpus_has_a_rule(name: str, roots: Roots) -> None:
    clips = clips_of(name, roots(name))
    if not (clip_id := corpora.naming(name)):
        return
    for clip in clips:
        for medium in clip.media.values():
            assert clip_id(Path(medium.path).stem) == clip.id
    with pytest.raises(ValueError, match="expected"):
        clip_id("interview")
    assert name in corpora.named([Path(medium.path).stem for medium in clips[0].media.values()])
    assert corpora.named(["interview"]) == set()


@every_corpus
def test_labels_are_in_field_words_and_those_of_the_card(name: str, roots: Roots) -> None:
    card = getattr(load(name), "CARD", None)
    for clip in clips_of(name, roots(name)):
        assert clip.labels
        sources = [label.source for label in clip.labels]
        assert len(set(sources)) == len(sources)
        assert card is None or tuple(sources) == card.label_sources
        for label in clip.labels:
            assert label.own or label.ratings
            assert label.emotion is None or label.emotion in FIELD_WORDS
            assert set(label.votes) <= FIELD_WORDS
            assert not label.votes or sum(label.votes.values()) == pytest.approx(1)


@every_corpus
def test_clips_survive_their_table(name: str, roots: Roots, tmp_path: Path) -> None:
    clips = clips_of(name, roots(name))
    pq.write_table(clips_to_table(clips), tmp_path / "clips.parquet")
    restored = list(clips_from_table(pq.read_table(tmp_path / "clips.parquet")))
    for clip, again in zip(clips, restored, strict=True):
        for label, label_again in zip(clip.labels, again.labels, strict=True):
            assert label_again.votes == pytest.approx(label.votes, abs=1e-7)  # stored as float32
        bare = [dataclasses.replace(label, votes={}) for label in clip.labels]
        assert dataclasses.replace(
            again, labels=tuple(dataclasses.replace(label, votes={}) for label in again.labels)
        ) == dataclasses.replace(clip, labels=tuple(bare))


@every_corpus
def test_sample_is_marked_from_whichever_folder_it_is_read(name: str, roots: Roots) -> None:
    root = roots(name)
    clips = clips_of(name, root)
    assert all(clip.synthetic for clip in clips)
    folder = Path(next(iter(clips[0].media.values())).path).parent
    # A table says what lies where: it is read from its folder or by its name, not from elsewhere.
    for other in (root / "clips.csv",) if name == "table" else (folder, root.parent):
        found = [record for record in load(name).import_clips(other) if isinstance(record, Clip)]
        # Where file names do not say it, a folder of media alone lacks what says who is in them.
        assert found or (other == folder and not corpora.naming(name))
        assert all(clip.synthetic for clip in found)
    verified = load(name).verify(root)
    assert "synthetic" in [finding.what for finding in verified.findings if finding.severity == "error"]
    assert not verified.intact
    assert verified.corpus == name


@every_corpus
def test_a_bucket_gives_the_clips_of_the_folder(name: str, roots: Roots, s3: str) -> None:
    """Only what `SUFFIXES` and `TABLE_SUFFIXES` say is looked at; no medium is read."""
    root, place = roots(name), Folder(f"{s3}/{name}/corpus")
    for path in root.rglob("*"):
        if path.is_file():
            place.write_bytes(str(path.relative_to(root)), path.read_bytes())
    for clip, again in zip(clips_of(name, root), remote.import_clips(name, place.uri), strict=True):
        moved = {
            medium: dataclasses.replace(file, path=file.path.replace(str(root), place.uri))
            for medium, file in clip.media.items()
        }
        assert again == dataclasses.replace(clip, media=moved)


@every_corpus
def test_root_that_is_no_corpus_is_an_error_with_the_remedy(name: str, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("text")
    card = getattr(load(name), "CARD", None)
    for root, message in (
        (tmp_path / "absent", "does not exist"),
        (tmp_path / "a file", "is not a folder"),
        (tmp_path, "no media files below it"),
    ):
        for ask in (load(name).import_clips, load(name).verify):
            with pytest.raises(CorpusError, match=message) as error:
                list(ask(root))  # type: ignore[call-overload]
            assert str(root) in str(error.value)
            assert card is None or card.access in str(error.value)


@every_corpus
def test_settings_that_are_not_the_corpus_s_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=f"are not those of corpus {name}: "):
        next(remote.import_clips(name, tmp_path, settings={"microphone": "headset"}))


@every_corpus
def test_a_file_of_another_name_is_a_reject(name: str, tmp_path: Path) -> None:
    suffix = load(name).SUFFIXES[0]
    (tmp_path / f"interview{suffix}").write_bytes(b"x")
    (reject,) = load(name).import_clips(tmp_path)
    assert isinstance(reject, Reject)
    # Own recordings have no names of a corpus; without a table they lie in a folder per class.
    reason, id = (
        ("wrong-folder", str(tmp_path / f"interview{suffix}"))
        if name == "table"
        else ("bad-name", f"interview{suffix}")
    )
    assert (reject.id, reject.stage, reject.reason) == (id, "import", reason)
    assert reject.path == str(tmp_path / f"interview{suffix}")


@every_corpus
def test_a_card_is_filled(name: str) -> None:
    if (card := getattr(load(name), "CARD", None)) is None:
        return
    assert card.name == name
    assert all([card.title, card.licence, card.access, card.citation, card.label_sources])
    if card.n_clips is not None and card.n_subjects is not None:
        assert card.n_clips > card.n_subjects > 1
    assert card in corpora.cards()


def test_unknown_corpus_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(CorpusError, match="choose from ravdess, cremad"):
        load("iemocap")
    with pytest.raises(CorpusError, match="the nearest is ravdess"):
        load("ravdes")
