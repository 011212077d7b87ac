"""Ratings by observers: the mean and the agreement of raters, and what a table of them may not hold."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.corpora.attach import attach
from mien.corpora.clip import Clip, Label, Rating, Reject
from mien.corpora.ratings import agreement, read_ratings
from mien.errors import CorpusError

CLIPS = tuple(
    Clip(id=f"own/{name}", corpus="own", subject="own/1", media={}, labels=(Label(source="intended", own="joy"),))
    for name in "abc"
)


def rate(tmp_path: Path, text: str, clips: Sequence[Clip] = CLIPS) -> tuple[list[Clip], list[Reject]]:
    (tmp_path / "r.csv").write_text(text)
    found = list(attach(clips, "ratings", str(tmp_path / "r.csv")))
    return [r for r in found if isinstance(r, Clip)], [r for r in found if isinstance(r, Reject)]


def expected_agreement(values: Sequence[float], low: float, high: float) -> float:
    """a_wg of Brown & Hauenstein 2005, by the equation for one item."""
    k = len(values)
    m = sum(values) / k
    s2 = sum((x - m) ** 2 for x in values) / (k - 1)
    return 1 - 2 * s2 / (((high + low) * m - m * m - high * low) * (k / (k - 1)))


def test_raters_become_a_mean_a_number_and_an_agreement(tmp_path: Path) -> None:
    clips, rejects = rate(
        tmp_path,
        "clip_id,rater,source,low,high,valence,arousal\n"
        "own/a,r1,annotated,1,9,3,7\n"
        "own/b,r1,,,,5,5\n"
        "own/a,r2,,,,2,8\n"
        "own/a,r3,,,,4,\n"
        "own/b,r2,,,,5,5\n",
    )
    assert rejects == []
    assert [[label.source for label in clip.labels] for clip in clips] == [["intended", "annotated"]] * 2 + [
        ["intended"]
    ]
    label = clips[0].label("annotated")
    assert label is not None
    assert (label.own, label.emotion, dict(label.votes)) == ("", None, {})
    assert label.ratings == {
        "valence": Rating(
            value=3, low=1, high=9, n_raters=3, agreement=pytest.approx(expected_agreement([3, 2, 4], 1, 9), abs=1e-12)
        ),
        "arousal": Rating(
            value=7.5, low=1, high=9, n_raters=2, agreement=pytest.approx(expected_agreement([7, 8], 1, 9), abs=1e-12)
        ),
    }
    unanimous = clips[1].label("annotated")
    assert unanimous is not None
    assert unanimous.ratings["valence"] == Rating(value=5, low=1, high=9, n_raters=2, agreement=1.0)


def test_without_raters_a_line_is_the_rating(tmp_path: Path) -> None:
    clips, _ = rate(tmp_path, "file;low;high;valence;dominance\na;-1;1;-0.5;\nc.wav;;;1;0.25\n")
    ratings = [label.ratings if (label := clip.label("annotated")) else None for clip in clips]
    assert ratings == [
        {"valence": Rating(value=-0.5, low=-1, high=1)},
        None,
        {"valence": Rating(value=1, low=-1, high=1), "dominance": Rating(value=0.25, low=-1, high=1)},
    ]


def test_a_dimension_may_have_a_scale_of_its_own(tmp_path: Path) -> None:
    clips, _ = rate(tmp_path, "clip_id,low,high,valence,arousal,arousal_low,arousal_high\na,1,9,9,0,0,4\n")
    label = clips[0].label("annotated")
    assert label is not None
    assert label.ratings == {"valence": Rating(value=9, low=1, high=9), "arousal": Rating(value=0, low=0, high=4)}
    assert {name: rating.normalised for name, rating in label.ratings.items()} == {"valence": 1, "arousal": -1}


def test_each_source_has_a_label_of_its_own_and_joins_the_one_that_is_there(tmp_path: Path) -> None:
    votes = Label(source="perceived-face", own="H", emotion="happiness", votes={"happiness": 1.0})
    clip = Clip(id="own/a", corpus="own", subject="own/1", media={}, labels=(votes,))
    text = "clip_id,rater,source,low,high,valence\na,r1,perceived-face,1,9,7\na,r1,self-report,,,2\n"
    (rated,), _ = rate(tmp_path, text, [clip])
    valence = {
        "perceived-face": Rating(value=7, low=1, high=9),
        "self-report": Rating(value=2, low=1, high=9),
    }
    assert rated.labels == (
        Label(
            source="perceived-face",
            own="H",
            emotion="happiness",
            votes={"happiness": 1.0},
            ratings={"valence": valence["perceived-face"]},
        ),
        Label(source="self-report", ratings={"valence": valence["self-report"]}),
    )
    with pytest.raises(CorpusError, match=r"own/a has a rating of valence \(perceived-face\) already"):
        rate(tmp_path, text, [rated])


def test_one_source_is_stated_once_for_all_lines(tmp_path: Path) -> None:
    clips, _ = rate(tmp_path, "clip_id,source,low,high,valence\na,,,,3\nb,self-report,1,9,4\n")
    assert [clip.labels[-1].source for clip in clips] == ["self-report", "self-report", "intended"]


def test_names_that_are_no_clip_and_clips_without_a_number_are_counted(tmp_path: Path) -> None:
    text = "clip_id,low,high,valence\na,1,9,3\nb,,,\nx,,,4\ny,,,4\n"
    clips, rejects = rate(tmp_path, text)
    assert [clip.label("annotated") is not None for clip in clips] == [True, False, False]
    assert {reject.reason: reject.detail.partition(": ")[2] for reject in rejects} == {
        "unknown-clip": "2 of 4 names belong to no clip of own that was imported: x, y",
        "no-rating": "1 clips are named and have no rating, such as own/b",
    }


def test_two_names_of_one_clip_are_put_together(tmp_path: Path) -> None:
    clip = Clip(id="ravdess/01-03-01-01-01-02", corpus="ravdess", subject="ravdess/02", media={})
    head = "file,rater,low,high,valence\n01-01-03-01-01-01-02.mp4,r1,1,9,3\n"
    (rated,), rejects = rate(tmp_path, head + "03-01-03-01-01-01-02.wav,r2,,,6\n", [clip])
    assert rejects == []
    assert rated.labels[0].ratings["valence"].value == 4.5
    with pytest.raises(CorpusError, match="rater 'r1' rates valence of ravdess/01-03-01-01-01-02 under two names"):
        rate(tmp_path, head + "03-01-03-01-01-01-02.wav,r1,,,6\n", [clip])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip_id,low,high\na,1,9\n", "line 1: no column of ratings: add one per dimension, such as valence"),
        ("valence,low,high\n3,1,9\n", "line 1: exactly one column must name the clips"),
        ("clip_id,valence\na,3\n", r"column valence: its scale has no low end: add a column low \(or valence_low\)"),
        ("clip_id,low,valence\na,1,3\n", "column valence: its scale has no high end"),
        ("clip_id,low,high,valence\na,9,1,3\n", "column valence: scale from 9 to 1: low must be less"),
        ("clip_id,low,high,valence\na,1,9,3\nb,0,9,3\n", "line 3, column low: 0 after 1: a scale is the same in all"),
        ("clip_id,low,high,valence\na,1,9,0.5\n", "line 2, column valence: 0.5 is off its scale of 1 to 9: correct it"),
        ("clip_id,low,high,valence\na,1,9,3\nb,,,10\n", "line 3, column valence: 10 is off its scale of 1 to 9"),
        ("clip_id,low,high,valence\na,1,9,high\n", "line 2, column valence: 'high' is not a number"),
        ("clip_id,low,high,valence\na,1,9,nan\n", "line 2, column valence: 'nan' is not a number"),
        (
            "clip_id,source,low,high,valence\na,percieved-face,1,9,3\n",
            "line 2, column source: unknown label source 'percieved-face': the nearest are perceived-face",
        ),
        (
            "clip_id,source,low,high,valence\na,annotated,1,9,3\nb,proxy,,,3\nc,,,,3\n",
            "line 4, column source: is empty, and the table has annotated and proxy: fill it in",
        ),
        (
            "clip_id,low,high,valence\na,1,9,3\na,,,4\n",
            "line 3, column valence: without a column rater there is one line per clip, and a on line 2 as well",
        ),
        (
            "clip_id,rater,low,high,valence\na,r1,1,9,3\na,r2,,,4\na,r1,,,4\n",
            "line 4, column valence: rater 'r1' rates a on line 2 as well: remove one of the lines",
        ),
        ("clip_id,rater,low,high,valence\n,r1,1,9,3\n", "line 2, column clip_id: is empty"),
    ],
)
def test_a_table_that_is_wrong_says_where_and_what_to_do(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(CorpusError, match=message) as error:
        read_ratings(str(tmp_path / "r.csv"))
    assert str(error.value).startswith(str(tmp_path / "r.csv"))


@pytest.mark.slow
@given(st.lists(st.integers(1, 9), min_size=2, max_size=7))
@settings(deadline=None, max_examples=200)
def test_agreement_is_the_published_one_and_knows_no_order_or_direction(values: list[int]) -> None:
    found = agreement(values, 1, 9)
    assert found is not None
    assert -1 <= found <= 1
    assert found == pytest.approx(agreement(values[::-1], 1, 9), abs=1e-12)
    assert found == pytest.approx(agreement([10 - value for value in values], 1, 9), abs=1e-12)
    assert found == pytest.approx(agreement([(value - 1) / 8 for value in values], 0, 1), abs=1e-9)
    if len(set(values)) > 1:
        assert found == pytest.approx(expected_agreement(values, 1, 9), abs=1e-12)


def test_agreement_runs_from_ratings_at_both_ends_to_equal_ones() -> None:
    assert agreement([1, 9], 1, 9) == agreement([0, 0, 5, 5, 5], 0, 5) == -1
    assert agreement([9, 9], 1, 9) == agreement([1, 1, 1], 1, 9) == agreement([5, 5], 1, 9) == 1
    assert agreement([5], 1, 9) is None
    of_three = {values: agreement(values, 1, 5) for values in combinations_with_replacement(range(1, 6), 3)}
    assert {values for values, found in of_three.items() if found == 1} == {(value,) * 3 for value in range(1, 6)}
