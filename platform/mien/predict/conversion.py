"""A model of model/ as an ONNX graph, held against its framework. Runs in a process of its own: it imports a framework.

Models of a late fusion may be of two frameworks, which cannot meet in one process.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from mien.errors import MienError
from mien.families import FAMILIES, frameworks
from mien.families.contract import Predictor, Task
from mien.families.files import hand_over
from mien.families.frameworks.onnx import OnnxModel, example_batch, in_eight_bits
from mien.families.recipe import PARENTS, RECIPE, ModelRecipe

TOLERANCE = 1e-4  # of a probability, or of a dimension in [-1, 1]
CHECKED = (1,), (2, 60, 1), (31, 7)  # lengths of the clips that framework and graph must agree on
N_TIMED = 30


class Converted(NamedTuple):
    """graph: what is exported. n_bytes, ms: size, and median time for one clip of 40 frames on one thread, of the
    framework, of the graph and, where asked for, of the one in eight bits. difference: the largest between the
    predictions of framework and graph."""

    graph: bytes
    n_bytes: dict[str, int]
    ms: dict[str, float]
    difference: float


def convert(files: Mapping[str, bytes], *, int8: bool = False) -> Converted:
    """files: a model/ by name, its parents' left out. Raises MienError where graph and framework disagree by more than
    1e-4, or the family has no weights that could be made smaller."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        own = {name: data for name, data in files.items() if not name.startswith(f"{PARENTS}/")}
        return process.submit(_converted, own, int8).result()


def _converted(files: Mapping[str, bytes], int8: bool) -> Converted:
    logging.disable(logging.WARNING)  # the exporters say much that nobody can act on
    recipe = ModelRecipe.from_json(json.loads(files[RECIPE]))
    family = FAMILIES[recipe.model.family]
    if int8 and family.framework == "sklearn":
        raise MienError(f"int8: the support vectors of {recipe.model.family} stay floats; leave it out")
    task = recipe.task(frameworks.group(family.framework, 0, 1))
    learner = family.build(task)
    hand_over(files, learner.restore)
    graph = learner.to_onnx()
    models: dict[str, Predictor] = {family.framework: learner, "onnx": OnnxModel(task, graph)}
    difference = max(_difference(learner, models["onnx"], task, lengths) for lengths in CHECKED)
    if not difference <= TOLERANCE:
        raise MienError(
            f"{recipe.model.family}: the graph predicts up to {difference:.2g} another value than {family.framework}; "
            f"{TOLERANCE:g} is allowed. Nothing was exported"
        )
    n_bytes = {"onnx": len(graph)}
    if int8:
        graph = in_eight_bits(graph)
        models["int8"], n_bytes["int8"] = OnnxModel(task, graph), len(graph)
    return Converted(graph, n_bytes, {name: _ms(model, task) for name, model in models.items()}, difference)


def _difference(one: Predictor, other: Predictor, task: Task, lengths: tuple[int, ...]) -> float:
    batch = example_batch(task, lengths)
    return float(np.abs(one.predict([batch]).values - other.predict([batch]).values).max())


def _ms(model: Predictor, task: Task) -> float:
    batch = example_batch(task, (40,))
    taken = []
    for _ in range(N_TIMED):
        start_s = time.perf_counter()
        model.predict([batch])
        taken.append(1000 * (time.perf_counter() - start_s))
    return float(np.median(taken))
