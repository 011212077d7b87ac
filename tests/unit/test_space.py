"""Spaces: what a line of text means, what an experiment makes of a point, and what is refused before anything runs."""

from __future__ import annotations

import dataclasses

import pytest

from mien.errors import ExperimentError
from mien.experiment import Experiment
from mien.experiment.search import Search
from mien.experiment.space import Choice, Range, read_distribution, read_space, value_of, with_point
from mien.results.search_folder import SearchFolder

BASE = Experiment(name="base")


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("loss.gamma", "0 .. 4", Range(0.0, 4.0, False, False)),
        ("training.learning_rate", "1e-4 .. 1e-2 log", Range(1e-4, 1e-2, True, False)),
        ("model.lstm_units", "16 .. 64 log", Range(16, 64, True, True)),
        ("augment.stretch.0", "0.7 .. 1", Range(0.7, 1.0, False, False)),
        ("augment.kind", "none | sync", Choice(("none", "sync"))),
        ("augment.stretch", "[0.9, 1.1] | [0.8, 1.2]", Choice(([0.9, 1.1], [0.8, 1.2]))),
        ("training.batch_size", "16 | 32", Choice((16, 32))),
    ],
)
def test_a_line_is_a_distribution(path, text, expected):
    assert read_space(BASE, {path: text}) == {path: expected}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "space is empty"),
        ({"loss.gama": "0 .. 4"}, "'loss.gama': no such field; here are kind, gamma"),
        ({"augment.stretch.7": "0 .. 4"}, "no such field; here are 0, 1"),
        ({"name": "a | b"}, "decides nothing that is learnt"),
        ({"execution.parallel": "1 | 2"}, "decides nothing that is learnt"),
        ({"data.corpora": "a | b"}, "on the same clips and folds"),
        ({"protocol.folds": "2 | 3"}, "on the same clips and folds"),
        ({"loss.gamma": "4 .. 0"}, "give the lower end first"),
        ({"loss.gamma": "0 .. 4 log"}, "must start above 0"),
        ({"loss.gamma": "0 .. 4 lgo"}, "is no distribution"),
        ({"loss.gamma": "nan .. 4"}, "is no distribution"),
        ({"loss.gamma": "2"}, "two or more different values"),
        ({"loss.gamma": "2 | 2"}, "two or more different values"),
        ({"loss.gamma": "-1 .. 4"}, "'loss.gamma': -1.0 is refused"),
        ({"loss.kind": "focal | hinge"}, "'loss.kind': \"hinge\" is refused"),
        ({"loss.gamma": "a | b"}, "is refused"),
        ({"model.lstm_units": "0.5 .. 2"}, "whole numbers"),
        ({"model.dropout": "0 .. 1"}, "is refused"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(space, message):
    with pytest.raises(ExperimentError) as error:
        read_space(BASE, space)
    assert message in str(error.value)


def test_a_point_sets_its_fields_and_no_other():
    point = {"loss.gamma": 1.5, "augment.stretch.1": 1.3, "model.lstm_units": 17, "data.normalise": "speaker"}
    there = with_point(BASE, point)
    assert {path: value_of(there, path) for path in point} == point
    assert with_point(there, {path: value_of(BASE, path) for path in point}) == BASE
    with pytest.raises(ExperimentError):
        with_point(BASE, {"augment.stretch.1": 0.1})  # its lower end is 0.9


def test_numbers_of_a_text_are_read_as_they_stand():
    assert read_distribution("1 | 1.5 | true | word") == Choice((1, 1.5, True, "word"))


def test_a_search_goes_to_json_and_back():
    search = Search(experiment=BASE, space={"loss.gamma": "0 .. 4"}, questions={"loss.kind": "focal | cross-entropy"})
    assert Search.from_json(search.to_json()) == search
    with pytest.raises(ExperimentError, match="trails"):
        Search.from_json({**search.to_json(), "trails": 3})


def test_another_search_of_the_same_name_is_refused_with_the_difference(tmp_path):
    execution = dataclasses.replace(BASE.execution, storage=str(tmp_path))
    search = Search(experiment=dataclasses.replace(BASE, execution=execution), space={"loss.gamma": "0 .. 4"}, trials=3)
    SearchFolder.create(search)
    wider = dataclasses.replace(search.experiment, execution=dataclasses.replace(execution, parallel=2, seeds=(1, 2)))
    more = dataclasses.replace(search, trials=9, questions={"loss.kind": "focal | cross-entropy"}, experiment=wider)
    assert SearchFolder.create(more).search == more
    other = dataclasses.replace(search, space={"loss.gamma": "0 .. 2"}, method="random")
    with pytest.raises(ExperimentError) as error:
        SearchFolder.create(other)
    assert "space.loss.gamma: 0 .. 4 there, 0 .. 2 now" in str(error.value)
    assert "method: tpe there, random now" in str(error.value)
    assert SearchFolder.open(str(tmp_path / "base")).search == more
