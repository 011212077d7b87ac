"""What every corpus module promises, tried on the samples of all that are registered."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.corpora import CORPORA, load
from mien.corpora.clip import Clip, clips_from_table, clips_to_table
from mien.corpora.emotions import FIELD_WORDS
from mien.corpora.sample.write import write_sample
from mien.errors import CorpusError

every_corpus = pytest.mark.parametrize("name", CORPORA)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_sample(tmp_path_factory.mktemp("sample"), tuple(CORPORA), n_subjects=1, n_per_emotion=1)


def clips_of(name: str, roots: dict[str, Path]) -> list[Clip]:
    records = list(load(name).import_clips(roots[name]))
    assert all(isinstance(record, Clip) for record in records)
    return [record for record in records if isinstance(record, Clip)]


@every_corpus
def test_clips_are_sorted_unique_and_the_same_each_time(name: str, roots: dict[str, Path]) -> None:
    clips = clips_of(name, roots)
    ids = [clip.id for clip in clips]
    assert ids == sorted(set(ids))
    assert clips == clips_of(name, roots)


@every_corpus
def test_names_carry_the_corpus(name: str, roots: dict[str, Path]) -> None:
    for clip in clips_of(name, roots):
        assert clip.corpus == name == load(name).CARD.name
        assert clip.id.startswith(f"{name}/")
        assert clip.subject.startswith(f"{name}/")


@every_corpus
def test_each_medium_exists_and_its_name_leads_to_its_clip(name: str, roots: dict[str, Path]) -> None:
    for clip in clips_of(name, roots):
        assert set(clip.media) == {"audio", "video"}
        for path in map(Path, clip.media.values()):
            assert path.is_file()
            assert load(name).clip_id(path.stem) == clip.id


@every_corpus
def test_labels_are_those_of_the_card_in_field_words(name: str, roots: dict[str, Path]) -> None:
    for clip in clips_of(name, roots):
        assert tuple(label.source for label in clip.labels) == load(name).CARD.label_sources
        for label in clip.labels:
            assert label.own
            assert label.emotion is None or label.emotion in FIELD_WORDS
            assert set(label.votes) <= FIELD_WORDS
            assert not label.votes or sum(label.votes.values()) == pytest.approx(1)


@every_corpus
def test_clips_survive_their_table(name: str, roots: dict[str, Path]) -> None:
    clips = clips_of(name, roots)
    restored = list(clips_from_table(clips_to_table(clips)))
    # Shares of votes are stored as float32.
    assert [(c.id, c.subject, c.media, c.attributes, c.span, c.synthetic) for c in restored] == [
        (c.id, c.subject, c.media, c.attributes, c.span, c.synthetic) for c in clips
    ]
    for clip, again in zip(clips, restored):
        assert [(x.source, x.own, x.emotion) for x in again.labels] == [
            (x.source, x.own, x.emotion) for x in clip.labels
        ]
        for label, label_again in zip(clip.labels, again.labels):
            assert label_again.votes == pytest.approx(label.votes, abs=1e-7)


@every_corpus
def test_sample_is_marked_from_whichever_folder_it_is_read(name: str, roots: dict[str, Path]) -> None:
    assert all(clip.synthetic for clip in clips_of(name, roots))
    folder = Path(clips_of(name, roots)[0].media["audio"]).parent
    for other in (folder, roots[name].parent):
        clips = [record for record in load(name).import_clips(other) if isinstance(record, Clip)]
        assert clips and all(clip.synthetic for clip in clips)
    found = load(name).verify(roots[name])
    assert "synthetic" in [finding.what for finding in found.findings if finding.severity == "error"]
    assert not found.intact


@every_corpus
def test_root_that_is_no_corpus_is_an_error_with_the_remedy(name: str, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("text")
    for root, message in (
        (tmp_path / "absent", "does not exist"),
        (tmp_path / "a file", "is not a folder"),
        (tmp_path, "no media files below it"),
    ):
        for ask in (load(name).import_clips, load(name).verify):
            with pytest.raises(CorpusError, match=message) as error:
                ask(root)
            assert str(root) in str(error.value)
            assert load(name).CARD.access in str(error.value)


@every_corpus
def test_a_file_of_another_name_is_a_reject_and_no_clip_id(name: str, tmp_path: Path) -> None:
    (tmp_path / "interview.wav").write_bytes(b"x")
    (reject,) = load(name).import_clips(tmp_path)
    assert not isinstance(reject, Clip)
    assert (reject.id, reject.stage, reject.reason) == ("interview.wav", "import", "bad-name")
    with pytest.raises(ValueError, match="expected"):
        load(name).clip_id("interview")


@every_corpus
def test_card_is_filled(name: str) -> None:
    card = load(name).CARD
    assert all([card.title, card.licence, card.access, card.citation, card.label_sources])
    assert card.n_clips > card.n_subjects > 1


def test_unknown_corpus_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(CorpusError, match="choose from ravdess, cremad"):
        load("iemocap")
