"""Clips, media, ratings: what they refuse, and that they come back from their Arrow table as they were."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.corpora.clip import (
    CLIP_SCHEMA,
    LABEL_SOURCES,
    REJECT_SCHEMA,
    Clip,
    Label,
    Medium,
    Rating,
    Reject,
    clips_from_table,
    clips_to_table,
    rejects_to_table,
)

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9)
seconds = st.floats(0, 1e5, allow_subnormal=False)


@st.composite
def mediums(draw: st.DrawFn) -> Medium:
    start_s = draw(seconds)
    end_s = draw(st.none() | st.floats(min_value=0.001, max_value=1e4).map(lambda length_s: start_s + length_s))
    return Medium(
        path=draw(words),
        start_s=start_s,
        end_s=end_s,
        offset_s=draw(st.floats(-1e5, 1e5)),
        track=draw(st.none() | st.integers(0, 31)),
    )


@st.composite
def ratings(draw: st.DrawFn) -> Rating:
    low = draw(st.floats(-100, 100))
    high = low + draw(st.floats(0.5, 100))
    return Rating(
        value=draw(st.floats(low, high)),
        low=low,
        high=high,
        n_raters=draw(st.integers(1, 50)),
        agreement=draw(st.none() | st.floats(-1, 1)),
        trace=draw(st.none() | words),
    )


labels = st.builds(
    Label,
    source=st.sampled_from(LABEL_SOURCES),
    own=st.just("") | words,
    emotion=st.none() | words,
    votes=st.dictionaries(words, st.floats(0, 1, width=32), max_size=3),
    ratings=st.dictionaries(words, ratings(), max_size=3),
)
clips = st.builds(
    Clip,
    id=words,
    corpus=words,
    subject=words,
    media=st.dictionaries(words, mediums(), max_size=3),
    labels=st.lists(labels, max_size=3).map(tuple),
    groups=st.dictionaries(words, words, max_size=2),
    attributes=st.dictionaries(words, words, max_size=3),
    synthetic=st.booleans(),
)


@pytest.mark.slow
@given(st.lists(clips, max_size=5))
@settings(deadline=None, max_examples=60)
def test_any_clips_come_back_from_their_table_as_they_were(given_clips: list[Clip]) -> None:
    table = clips_to_table(given_clips)
    assert table.schema == CLIP_SCHEMA
    assert list(clips_from_table(table)) == given_clips


def test_a_clip_comes_back_from_parquet_with_every_field(tmp_path: Path) -> None:
    clip = Clip(
        id="x/1",
        corpus="x",
        subject="x/anna",
        media={
            "audio": Medium(path="s3://b/a.wav", start_s=1.5, end_s=2.25, offset_s=-0.5, track=3),
            "eeg": Medium(path="a.bdf"),
        },
        labels=(
            Label(source="perceived-both", own="N:S", votes={"neutral": 0.5, "sadness": 0.5}),
            Label(
                source="annotated",
                ratings={
                    "valence": Rating(value=7, low=1, high=9, n_raters=3, agreement=0.75),
                    "arousal": Rating(value=0.25, low=-1, high=1, trace="traces.csv"),
                },
            ),
        ),
        groups={"meeting": "x/m1", "dyad": "x/d2"},
        attributes={"sex": "female"},
        synthetic=True,
    )
    pq.write_table(clips_to_table([clip]), tmp_path / "clips.parquet")
    table = pq.read_table(tmp_path / "clips.parquet")
    assert table.column_names == [
        "id",
        "corpus",
        "subject",
        "media",
        "labels",
        "groups",
        "attributes",
        "synthetic",
    ]
    assert list(clips_from_table(table)) == [clip]
    (row,) = table.to_pylist()
    assert row["media"] == [
        ("audio", {"path": "s3://b/a.wav", "start_s": 1.5, "end_s": 2.25, "offset_s": -0.5, "track": 3}),
        ("eeg", {"path": "a.bdf", "start_s": 0.0, "end_s": None, "offset_s": 0.0, "track": None}),
    ]
    assert row["labels"][1]["ratings"][0] == (
        "valence",
        {"value": 7.0, "low": 1.0, "high": 9.0, "n_raters": 3, "agreement": 0.75, "trace": None},
    )


def test_more_clips_than_are_made_rows_of_at_once_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.corpora.clip._ROWS_AT_A_TIME", 3)
    ids = [f"x/{number}" for number in range(11)]
    table = clips_to_table(Clip(id=id, corpus="x", subject="x/1", media={}) for id in ids)
    assert table["id"].to_pylist() == ids
    assert clips_to_table(iter([])).schema == CLIP_SCHEMA


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(-0.1, None), (2.0, 2.0), (3.0, 1.0), (math.nan, None), (0.0, math.nan)]
)
def test_a_stretch_that_is_none_is_refused(start_s: float, end_s: float | None) -> None:
    with pytest.raises(ValueError, match=r"a\.wav: stretch"):
        Medium(path="a.wav", start_s=start_s, end_s=end_s)


@pytest.mark.parametrize(
    ("value", "low", "high"), [(0.9, 1, 9), (9.1, 1, 9), (5, 9, 1), (5, 5, 5), (math.nan, 1, 9), (5, math.nan, 9)]
)
def test_a_rating_off_its_scale_is_refused(value: float, low: float, high: float) -> None:
    with pytest.raises(ValueError, match="must lie on its scale"):
        Rating(value=value, low=low, high=high)


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"), [(1, 1, 9, -1), (9, 1, 9, 1), (5, 1, 9, 0), (0.5, 0, 1, 0), (2, -2, 2, 1)]
)
def test_a_normalised_rating_runs_from_minus_one_to_one(value: float, low: float, high: float, expected: float) -> None:
    assert Rating(value=value, low=low, high=high).normalised == expected


def test_an_unknown_label_source_is_refused() -> None:
    with pytest.raises(ValueError, match="label source 'perceived': expected one of intended, "):
        Label(source="perceived")


def test_a_medium_is_whole_only_from_its_start_to_its_end() -> None:
    assert Medium(path="a").is_whole
    assert Medium(path="a", track=1, offset_s=3).is_whole
    assert not Medium(path="a", start_s=0.1).is_whole
    assert not Medium(path="a", end_s=9).is_whole


def test_the_label_of_a_source() -> None:
    both, face = Label(source="perceived-both", own="A"), Label(source="perceived-face", own="S")
    clip = Clip(id="x/1", corpus="x", subject="x/1", media={}, labels=(both, face))
    assert clip.label("perceived-face") is face
    assert clip.label("intended") is None


@given(st.lists(st.builds(Reject, id=words, path=words, stage=words, reason=words, detail=words), max_size=4))
@settings(deadline=None, max_examples=20)
def test_any_rejects_become_rows(rejects: list[Reject]) -> None:
    table = rejects_to_table(rejects)
    assert table.schema == REJECT_SCHEMA
    assert [Reject(**row) for row in table.to_pylist()] == rejects


def test_the_schema_holds_what_the_classes_hold() -> None:
    """A field that is added to a class and not to its schema would be lost without a word."""
    medium, rating = CLIP_SCHEMA.field("media").type.item_type, None
    label = CLIP_SCHEMA.field("labels").type.value_type
    rating = label.field("ratings").type.item_type
    for kind, names in (
        (Clip, CLIP_SCHEMA.names),
        (Reject, REJECT_SCHEMA.names),
        (Medium, [field.name for field in medium]),
        (Label, [field.name for field in label]),
        (Rating, [field.name for field in rating]),
    ):
        assert list(kind.__slots__) == names, kind
    assert pa.types.is_float64(medium.field("start_s").type)
