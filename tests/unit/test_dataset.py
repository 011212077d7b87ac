"""Which clips of a store an experiment reads, and what it says of a corpus that gives none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tiny
from mien.corpora.clip import Clip, Label, Medium, Reject
from mien.data.columns import Mapped
from mien.data.contents import Contents
from mien.data.dataset import Dataset, read_dataset
from mien.errors import ExperimentError, LeakError, StoreError
from mien.experiment import ClassesConfig, DataConfig, DimensionsConfig, ProtocolConfig
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureStore, Row

CLASSES = ClassesConfig()
VOICE = DataConfig(corpora=("cremad", "ravdess"), features=("voice",))
BOTH = DataConfig(corpora=("ravdess",), features=("voice", "face"))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))


def clip(number: int, corpus: str = "ravdess", **changes: object) -> Clip:
    emotion = ("anger", "fear", "neutral")[number % 3]
    given = {
        "id": f"{corpus}/{number:02}",
        "corpus": corpus,
        "subject": f"{corpus}/s{number % 3}",
        "media": {},
        "labels": (Label(source="intended", emotion=emotion),),
        "attributes": {"channel": "speech"},
    }
    return Clip(**{**given, **changes})  # type: ignore[arg-type]


def content(number: int) -> tuple[str, float, float | None]:
    """(hash, start_s, end_s) of the file of a clip, a whole one."""
    return f"{number:064x}", 0.0, None


def write(
    folder: Path,
    clips: Sequence[Clip],
    *,
    voice: Callable[[int], tuple[str, float, float | None]] = content,
    face: Callable[[int], tuple[str, float, float | None]] = lambda number: content(1000 + number),
    lacks: dict[str, Sequence[int]] | None = None,
    voice_spec: FeatureSpec = tiny.SPECS["voice"],
) -> FeatureStore:
    """A store of one more corpus, with a voice and a face. voice, face: the content of the n-th clip. lacks: feature to
    the clips, by their number, that it rejects."""
    store = FeatureStore(folder / "store")
    corpus = clips[0].corpus
    store.write_clips(corpus, clips, [])
    for name, contents, spec in (("voice", voice, voice_spec), ("face", face, tiny.SPECS["face"])):
        without = (lacks or {}).get(name, ())
        rng = np.random.default_rng(spec.dim)
        rows = [
            Row(one.id, *contents(n), rng.normal(size=(2, spec.dim)).astype(np.float32), np.ones(2, bool))
            for n, one in enumerate(clips)
            if n not in without
        ]
        rejects = [Reject(id=clips[n].id, path="", stage="extract", reason="broken", detail="") for n in without]
        part = store.feature_folder(corpus, spec)
        part.write([one.id for one in clips], rows, rejects)
        part.finish({one.id for one in clips}, {"name": name, "settings": {"window_s": 1}, "medium": "audio"})
    return store


def ids(dataset: Dataset) -> list[int]:
    return [int(clip_id.split("/")[1]) for clip_id in dataset.clip_ids]


# ------------------------------------------------------------------ which clips


@pytest.mark.parametrize("mapped", [False, True])
def test_two_corpora_are_read_together_by_corpus_and_id(tmp_path, mapped):
    write(tmp_path, [clip(n) for n in (4, 0, 2, 1, 3)])
    store = write(tmp_path, [clip(n, "cremad", synthetic=n == 1) for n in range(3)])
    dataset = read_dataset(store, VOICE, CLASSES, mapped=mapped)
    assert dataset.clip_ids == [*(f"cremad/{n:02}" for n in range(3)), *(f"ravdess/{n:02}" for n in range(5))]
    assert dataset.corpora == ["cremad"] * 3 + ["ravdess"] * 5
    assert dataset.subjects == [f"{c}/s{n % 3}" for c, m in (("cremad", 3), ("ravdess", 5)) for n in range(m)]
    assert dataset.target.truth.tolist() == [0, 2, 4, 0, 2, 4, 0, 2]
    assert dataset.synthetic == {"cremad": True, "ravdess": False}
    assert isinstance(dataset.columns["voice"], Mapped) == mapped
    expected = store.load("ravdess", tiny.SPECS["voice"])
    np.testing.assert_array_equal(dataset.columns["voice"][6].values, expected.frames(3).values)


def test_one_synthetic_clip_makes_a_corpus_synthetic(tmp_path):
    store = write(tmp_path, [clip(n, synthetic=n == 4) for n in range(5)])
    assert read_dataset(store, BOTH, CLASSES).summary()["corpora"]["ravdess"]["synthetic"] is True
    store = write(tmp_path / "real", [clip(n) for n in range(5)])
    assert read_dataset(store, BOTH, CLASSES).summary()["corpora"]["ravdess"]["synthetic"] is False


@pytest.mark.parametrize(
    ("only", "kept", "left_out"),
    [
        ({"channel": "speech"}, [0, 1, 2, 4], {"channel is not speech": 1}),
        ({"channel": "song"}, [3, 4], {"channel is not song": 3}),
        ({"channel": "speech", "sex": "f"}, [0, 2, 4], {"channel is not speech": 1, "sex is not f": 1}),
        ({}, [0, 1, 2, 3, 4], {}),
    ],
)
def test_only_asks_for_attributes_where_they_are_stated(tmp_path, only, kept, left_out):
    attributes = [{"channel": "speech"}, {"channel": "speech", "sex": "m"}, {"channel": "speech", "sex": "f"}]
    attributes += [{"channel": "song"}, {}]
    store = write(tmp_path, [clip(n, attributes=attributes[n]) for n in range(5)])
    dataset = read_dataset(store, replace(BOTH, only=only), CLASSES)
    assert (ids(dataset), dataset.left_out) == (kept, left_out)


def test_a_clip_that_lacks_a_feature_is_masked_or_dropped_as_asked(tmp_path):
    """2 lacks the face, 5 lacks both."""
    store = write(tmp_path, [clip(n) for n in range(7)], lacks={"voice": [5], "face": [2, 5]})
    masked = read_dataset(store, replace(BOTH, missing="mask"), CLASSES)
    assert ids(masked) == [0, 1, 2, 3, 4, 6]
    assert masked.columns["face"].lengths.tolist() == [2, 2, 0, 2, 2, 2]
    assert masked.columns["face"][2].values.shape == (0, 5)
    assert masked.left_out == {"no features (see the store's rejects)": 1}
    dropped = read_dataset(store, replace(BOTH, missing="drop"), CLASSES)
    assert ids(dropped) == [0, 1, 3, 4, 6]
    assert dropped.left_out == {"lacks one of the features": 1, "no features (see the store's rejects)": 1}


def test_an_emotion_is_merged_or_left_out_as_asked(tmp_path):
    labels = [(Label(source="intended", emotion=emotion),) for emotion in ("fear", "calm", "surprise", "neutral")]
    store = write(tmp_path, [clip(n, labels=labels[n]) for n in range(4)])
    merged = read_dataset(store, BOTH, CLASSES)
    assert (ids(merged), merged.target.truth.tolist()) == ([0, 1, 3], [2, 4, 4])
    assert merged.left_out == {"surprise is not among the classes": 1}
    plain = read_dataset(store, BOTH, replace(CLASSES, merge={}))
    assert (ids(plain), plain.target.truth.tolist()) == ([0, 3], [2, 4])
    assert plain.left_out == {"calm is not among the classes": 1, "surprise is not among the classes": 1}


def test_raters_shares_are_learnt_where_asked(tmp_path):
    labels = (Label(source="perceived-both", emotion="fear", votes={"fear": 0.5, "sadness": 0.25, "surprise": 0.25}),)
    store = write(tmp_path, [clip(n, labels=labels) for n in range(2)])
    target = ClassesConfig(source="perceived-both", soft=True)
    soft = read_dataset(store, BOTH, target).target
    np.testing.assert_allclose(soft.values, [[0, 0, 2 / 3, 0, 0, 1 / 3]] * 2, rtol=1e-6)
    hard = read_dataset(store, BOTH, replace(target, soft=False)).target
    np.testing.assert_array_equal(hard.values, np.eye(6)[[2, 2]])


def test_dimensions_are_read_from_the_same_store(tmp_path):
    tiny.write_store(str(tmp_path / "store"))
    store = FeatureStore(tmp_path / "store")
    expected = tiny.dataset(kind="dimensions")
    dataset = read_dataset(store, BOTH, DimensionsConfig())
    np.testing.assert_allclose(dataset.target.values, expected.target.values, atol=1e-6)
    np.testing.assert_array_equal(dataset.target.mask, expected.target.mask)
    ratings = dataset.summary()["ratings"]
    assert (ratings["valence"]["n_clips"], ratings["arousal"]["n_clips"]) == (41, 38)
    assert "class_counts" not in dataset.summary()


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"labels": ()}, "7 clips: no intended label"),
        ({"attributes": {"channel": "song"}}, "7 clips: channel is not speech"),
    ],
)
@pytest.mark.parametrize("corpus", ["cremad", "ravdess"])
def test_a_corpus_that_gives_no_clip_is_refused_with_the_reasons(tmp_path, corpus, changes, why):
    """Whether it is the first or the last of them."""
    other = {"cremad": "ravdess", "ravdess": "cremad"}[corpus]
    write(tmp_path, [clip(n, other) for n in range(5)])
    store = write(tmp_path, [clip(n, corpus, **changes) for n in range(7)])
    with pytest.raises(ExperimentError) as error:
        read_dataset(store, VOICE, CLASSES)
    assert str(error.value) == (
        f"no clip is left of {corpus} ({why}); check target.source, data.only and the store's rejects, or leave it out "
        "of data.corpora"
    )
    assert len(read_dataset(store, replace(VOICE, corpora=(other,)), CLASSES)) == 5


def own(n: int, word: str, **changes):
    """A clip of a corpus of one's own, with the word that its table has."""
    return clip(n, "own", labels=(Label(source="intended", own=word, emotion=word),), attributes={}, **changes)


def test_words_of_one_s_own_are_the_remedy_where_they_are_no_classes(tmp_path):
    store = write(tmp_path, [own(n, ("angry", "happy")[n % 2]) for n in range(6)])
    data = replace(VOICE, corpora=("own",))
    with pytest.raises(
        ExperimentError, match=r"make its words the classes \(target\.vocabulary angry,happy\), or leave"
    ):
        read_dataset(store, data, CLASSES)
    dataset = read_dataset(store, data, replace(CLASSES, vocabulary="happy,angry"))
    assert dataset.target.spec.names == ("happy", "angry")
    assert dataset.target.truth.tolist() == [1, 0] * 3


def test_one_class_that_is_left_of_several_words_is_refused(tmp_path):
    store = write(tmp_path, [own(n, ("angry", "neutral")[n % 2]) for n in range(6)])
    with pytest.raises(ExperimentError, match=r"only neutral is .*\(target\.vocabulary angry,neutral\)"):
        read_dataset(store, replace(VOICE, corpora=("own",)), CLASSES)


def test_people_who_are_not_known_are_not_counted_and_the_sides_of_a_corpus_are_read(tmp_path):
    changes = {"subject": "own/unknown", "attributes": {"split": "test"}}
    clips = [replace(own(n, ("angry", "happy")[n % 2]), **changes) for n in range(4)]
    store = write(tmp_path, clips)
    dataset = read_dataset(store, replace(VOICE, corpora=("own",)), replace(CLASSES, vocabulary="happy,angry"))
    assert dataset.sides == ["test"] * 4
    assert dataset.summary()["corpora"]["own"]["n_subjects"] == 0


def test_one_number_in_two_corpora_is_two_people_and_a_name_that_another_corpus_lacks_is_refused(tmp_path):
    both = DataConfig(corpora=("own", "ravdess"), features=("voice",))
    write(tmp_path, [clip(n) for n in range(6)])
    for subject, n_subjects in (("own/s0", 4), ("ravdess/s0", 3)):
        own = [clip(n, "own", subject=subject) for n in range(3)]
        store = write(tmp_path, own, voice=lambda n: content(50 + n), face=lambda n: content(60 + n))
        dataset = read_dataset(store, both, CLASSES)
        assert len(set(dataset.subjects)) == n_subjects
        protocol = ProtocolConfig(folds=3)
        for split in dataset.splits(protocol):
            dataset.check(split, protocol)
    store = write(tmp_path, [clip(n, "own", subject="ravdess/0") for n in range(3)])
    with pytest.raises(
        LeakError, match="own: subject ravdess/0 is said to be of ravdess, .* but ravdess/s0, ravdess/s1"
    ):
        read_dataset(store, both, CLASSES)
    assert len(read_dataset(store, DataConfig(corpora=("own",), features=("voice",)), CLASSES)) == 3


def test_a_corpus_without_clips_is_refused(tmp_path):
    store = write(tmp_path, [clip(n) for n in range(5)])
    store.write_clips("cremad", [], [])
    part = store.feature_folder("cremad", tiny.SPECS["voice"])
    part.finish(set())
    with pytest.raises(ExperimentError, match=r"no clip is left of cremad \(the store holds none\)"):
        read_dataset(store, VOICE, CLASSES)


def test_one_feature_with_two_settings_is_refused(tmp_path):
    other = replace(tiny.SPECS["voice"], settings={"window_s": 2})
    write(tmp_path, [clip(n, "cremad") for n in range(5)])
    store = write(tmp_path, [clip(n) for n in range(5)], voice_spec=other)
    with pytest.raises(ExperimentError, match="'voice': ravdess was prepared with other settings than cremad"):
        read_dataset(store, VOICE, CLASSES)
    assert read_dataset(store, replace(VOICE, corpora=("ravdess",)), CLASSES).specs == {"voice": other}


def test_a_wrong_target_is_named_before_anything_is_read(tmp_path):
    with pytest.raises(ExperimentError, match=r"target\.source 'intend': the nearest is intended"):
        read_dataset(FeatureStore(tmp_path), VOICE, ClassesConfig(source="intend"))
    with pytest.raises(StoreError, match="has no corpus 'cremad'"):
        read_dataset(FeatureStore(tmp_path), VOICE, CLASSES)


# ------------------------------------------------------------------ contents and groups


@pytest.mark.parametrize("mapped", [False, True])
def test_copies_are_found_through_any_medium_and_through_others(tmp_path, mapped):
    """1 has the voice of 3, and 3 the face of 6; 5 has its own voice for a face."""
    store = write(
        tmp_path,
        [clip(n) for n in range(7)],
        voice=lambda n: content({1: 3}.get(n, n)),
        face=lambda n: content({6: 1003, 5: 5}.get(n, 1000 + n)),
    )
    dataset = read_dataset(store, BOTH, CLASSES, mapped=mapped)
    assert dataset.contents.copies().tolist() == [0, 1, 2, 1, 3, 4, 1]
    assert dataset.summary()["identical"] == [["ravdess/01", "ravdess/03", "ravdess/06"]]
    only_voice = read_dataset(store, replace(BOTH, features=("voice",)), CLASSES, mapped=mapped)
    assert only_voice.summary()["identical"] == [["ravdess/01", "ravdess/03"]]


def test_copies_are_found_in_two_corpora(tmp_path):
    write(tmp_path, [clip(n, "cremad") for n in range(3)])
    store = write(tmp_path, [clip(n) for n in range(5)], voice=lambda n: content(n + 2))
    assert read_dataset(store, VOICE, CLASSES).summary()["identical"] == [["cremad/02", "ravdess/00"]]


@pytest.mark.parametrize("mapped", [False, True])
def test_utterances_of_one_recording_are_no_copies_and_overlaps_are_seen(tmp_path, mapped):
    store = write(
        tmp_path,
        [clip(n) for n in range(5)],
        voice=lambda n: ("mix", n * 2.0, n * 2.0 + (2.5 if n == 1 else 2.0)),
    )
    contents = read_dataset(store, BOTH, CLASSES, mapped=mapped).contents
    assert contents.copies().tolist() == [0, 1, 2, 3, 4]
    assert contents.overlaps().tolist() == [[1, 2]]


def test_groups_are_columns_with_a_gap_where_a_clip_has_none(tmp_path):
    groups = [{"meeting": "m1"}, {"meeting": "m2", "dyad": "d"}, {}]
    store = write(tmp_path, [clip(n, groups=groups[n]) for n in range(3)])
    dataset = read_dataset(store, BOTH, CLASSES)
    assert dataset.groups == {"meeting": ["m1", "m2", ""], "dyad": ["", "d", ""]}
    assert dataset.summary()["groups"] == {"meeting": 2, "dyad": 1}


def test_who_met_and_who_is_in_one_recording_is_counted(tmp_path):
    """Of subjects 0, 1, 2, 0, 1, the last two are in meetings alone or in none."""
    meetings = ["m1", "m1", "m2", "", "m1"]
    clips = [
        clip(n, groups={"meeting": name, "stimulus": f"film {n % 4}"} if name else {})
        for n, name in enumerate(meetings)
    ]
    one, two = (0.0, 2.0), (1.0, 3.0)
    alone = {0: ("a", *one), 3: ("a", *two)}  # one person's own windows
    for name, shared, n_sharing in (
        ("none", alone, 0),
        ("overlap", {**alone, 1: ("a", *two)}, 2),
        ("copies", {**alone, 1: ("b", *one), 2: ("b", *one)}, 2),
        ("both", {0: ("a", *one), 1: ("a", *two), 2: ("b", *one), 4: ("b", *one)}, 3),
    ):
        store = write(tmp_path / name, clips, voice=lambda n, shared=shared: shared.get(n, content(n)))
        summary = read_dataset(store, replace(BOTH, features=("voice",)), CLASSES).summary()
        assert (summary["n_met"], summary["n_sharing"]) == (2, n_sharing), name
        assert summary["n_same_stimulus"] == 2, "clips 0 and 4, of subjects 0 and 1, are of one film"
    store = write(tmp_path / "no groups", [clip(n) for n in range(3)])
    summary = read_dataset(store, BOTH, CLASSES).summary()
    assert (summary["n_met"], summary["n_sharing"], summary["n_same_stimulus"]) == (0, 0, 0)


def test_the_summary_is_the_data_in_short(tmp_path):
    store = write(tmp_path, [clip(n) for n in range(5)])
    summary = read_dataset(store, BOTH, CLASSES).summary()
    assert summary["corpora"] == {"ravdess": {"n_clips": 5, "n_subjects": 3, "synthetic": False}}
    assert summary["target"] == {"kind": "classes", "names": list(tiny_names()), "primary": "uar"}
    assert summary["class_counts"] == dict(zip(tiny_names(), (2, 0, 2, 0, 1, 0)))
    assert (summary["n_clips"], summary["n_subjects"], summary["left_out"]) == (5, 3, {})
    assert summary["recipes"]["face"] == {"name": "face", "settings": {"window_s": 1}, "medium": "audio"}
    assert [FeatureSpec.from_json(spec) for spec in summary["features"].values()] == [
        tiny.SPECS["voice"],
        tiny.SPECS["face"],
    ]
    assert summary["fingerprints"] == {
        f"ravdess/{name}": store.fingerprint("ravdess", tiny.SPECS[name]) for name in ("voice", "face")
    }


def tiny_names() -> tuple[str, ...]:
    return ("anger", "disgust", "fear", "happiness", "neutral", "sadness")


def test_people_who_talk_at_once_in_one_file_are_refused_with_the_seconds_and_the_way_out():
    """Five speakers of one mix, each utterance of 2 s starting 1.5 s after the one before; then 2 s after it."""
    data = tiny.dataset(20)
    for step_s, is_leak in ((1.5, True), (2.0, False)):
        starts = np.arange(20) * step_s
        mix = Contents.of(20, range(20), ["mix"] * 20, starts, starts + 2.0)
        one = replace(data, contents=mix, groups={"meeting": ["c/m"] * 20})
        assert len(set(mix.copies())) == 20
        split = one.splits(ProtocolConfig(folds=2))[0]
        if is_leak:
            with pytest.raises(
                LeakError, match=r"c/0\d\d and c/0\d\d hold the same [\d.]+ s to [\d.]+ s of one file"
            ) as e:
                one.check(split, ProtocolConfig(folds=2))
            assert "protocol.kind=by-group with protocol.group=meeting" in str(e.value)
        else:
            one.check(split, ProtocolConfig(folds=2))


def test_what_corpora_tell_of_clips_goes_with_them(tmp_path: Path) -> None:
    """Of clips that stay; nothing of a clip that says nothing, and where it begins in its recording."""
    sound = {"audio": Medium(path="a.wav", start_s=12.5, end_s=14), "video": Medium(path="b.mp4", start_s=13, end_s=14)}
    who = {"sex": "female", "age": "31", "intensity": "strong", "statement": "Kids", "channel": "speech"}
    clips = [clip(0), clip(1, attributes=who, media=sound, groups={"meeting": "ravdess/m"}), clip(2)]
    told = read_dataset(write(tmp_path, clips), BOTH, CLASSES).told()
    assert told.clip_ids.tolist() == [f"ravdess/{n:02}" for n in range(3)]
    assert {name: words.tolist() for name, words in told.attributes.items()} == {
        name: ["", who[name], ""] for name in ("sex", "age", "intensity", "statement")
    }
    assert told.starts_s.tolist() == [0, 12.5, 0]
    assert told.groups["meeting"].tolist() == ["", "ravdess/m", ""]
