"""Export: a finished run as a folder that is used without torch and TensorFlow."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien import __version__
from mien.data.dataset import Dataset, read_dataset
from mien.errors import ExperimentError, MienError
from mien.experiment import Experiment
from mien.families import FAMILIES
from mien.families.contract import Task
from mien.families.frameworks.onnx import GRAPH, OnnxModel, example_batch
from mien.families.recipe import NORMALISER, PARENTS, RECIPE, ModelRecipe
from mien.features.store.store import FeatureStore
from mien.folder import Folder
from mien.predict.conversion import Converted, convert
from mien.predict.exported import write_export
from mien.predict.recogniser import Recogniser, load_run
from mien.results.done import DONE, read_model
from mien.results.metrics import evaluate
from mien.results.predictions import read_predictions
from mien.results.run import Run

CARD = "card.md"
EXAMPLE_LENGTHS = (12, 7, 1)  # frames of the made-up clips of the example


class Exported(NamedTuple):
    """folder: what was written. measured: by model ("" is the run itself, a parent its input's name): sizes, times and
    the largest difference from the framework; "test": the test scores, where a store was given."""

    folder: Folder
    measured: dict[str, Any]


def export(
    run: str, out: str, *, int8: bool = False, store: str = "", tell: Callable[[str], None] = lambda line: None
) -> Exported:
    """Write a finished run as graphs of ONNX, with all that is needed to use them.

    run: <storage>/<experiment>/<signature>/seed-<n>/fold-<k>. int8: matrices of eight-bit integers. store: where the
    features of its test clips lie, to score what is exported on them; "" scores nothing. Raises MienError where the run
    is not finished or out has something in it, DamagedError where the run is not what was written.
    """
    folder, target = Folder(run), Folder(out)
    if not folder.exists(DONE):
        raise MienError(f"{folder}: no finished run; give a folder <experiment>/<signature>/seed-<n>/fold-<k>")
    if target.exists() and target.names():
        raise MienError(f"out {target}: has something in it already; name another folder, or delete it")
    model = read_model(folder)
    files, measured = _converted(model, "", int8, tell)
    files |= _example(model, files[GRAPH])
    if CARD in model:
        files[CARD] = model[CARD]
    if store:
        tell(f"scoring the test clips of {store}")
        measured["test"] = _test_scores(folder, Recogniser(files, target.uri), store)
    files["README.md"] = _readme(model, files[GRAPH], measured)
    write_export(target, files, measured, __version__)
    load_run(target.uri).close()
    return Exported(target, measured)


def _converted(
    model: Mapping[str, bytes], name: str, int8: bool, tell: Callable[[str], None]
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Its files and those of its parents, by name from its own folder on; and what was measured, by model."""
    tell(f"converting {name or 'the model'} ({json.loads(model[RECIPE])['model']['family']})")
    # A weighted or linear fusion of parents has few weights, and is exact.
    done: Converted = convert(model, int8=int8 and not any(file.startswith(f"{PARENTS}/") for file in model))
    files = {RECIPE: model[RECIPE], NORMALISER: model[NORMALISER], GRAPH: done.graph}
    measured: dict[str, Any] = {
        name: {"bytes": done.n_bytes, "ms_per_clip": done.ms, "largest_difference": done.difference}
    }
    for parent in sorted({file.split("/")[1] for file in model if file.startswith(f"{PARENTS}/")}):
        prefix = f"{PARENTS}/{parent}/"
        of_parent = {file.removeprefix(prefix): data for file, data in model.items() if file.startswith(prefix)}
        converted, of_it = _converted(of_parent, f"{name}/{parent}".strip("/"), int8, tell)
        files |= {f"{prefix}{file}": data for file, data in converted.items()}
        measured |= of_it
    return files, measured


def _example(model: Mapping[str, bytes], graph: bytes) -> dict[str, bytes]:
    """example.py, and example.npz: inputs of made-up clips, "values/..." before they are standardised, and what the
    graph makes of them."""
    recipe = _recipe(model)
    task: Task = recipe.task()
    inputs = FAMILIES[recipe.model.family].read(example_batch(task, EXAMPLE_LENGTHS), task)
    with np.load(io.BytesIO(model[NORMALISER]), allow_pickle=False) as file:
        moments: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
    expected = OnnxModel(task, graph).run(inputs)
    for name in inputs:
        feature = name.removeprefix("values/")
        if name.startswith("values/") and f"{feature}.mean" in moments:
            inputs[name] = inputs[name] * moments[f"{feature}.spread"][0] + moments[f"{feature}.mean"][0]
    arrays = io.BytesIO()
    np.savez(arrays, **inputs, expected=expected)  # type: ignore[arg-type]  # numpy's stub
    return {"example.py": _rendered("example.py", {}), "example.npz": arrays.getvalue()}


def _test_scores(folder: Folder, exported: Recogniser, store: str) -> dict[str, Any]:
    """The primary score on the run's test clips, of what the run predicted and of what is exported, and the largest
    difference between the two."""
    run = Run(folder, 0, 0)
    experiment = Experiment.from_json(run.read_json("experiment.json"))
    # Of a late fusion the features are its parents', and of each clip those that it has.
    data = dataclasses.replace(experiment.data, features=tuple(exported.specs), missing="mask")
    dataset = read_dataset(FeatureStore(store), data, experiment.target)
    predicted = read_predictions(run, exported.recipe.target, "test")
    row_of = {clip_id: row for row, clip_id in enumerate(dataset.clip_ids)}
    if lacking := [clip_id for clip_id in predicted.clip_ids if clip_id not in row_of]:
        raise ExperimentError(f"store {store}: lacks {len(lacking)} of the run's test clips, such as {lacking[0]}")
    rows = [row_of[clip_id] for clip_id in predicted.clip_ids]
    values = np.concatenate([_predicted(exported, dataset, some) for some in _parts(rows)])
    target = exported.recipe.target
    scores = {
        name: evaluate(target, predicted.truth, one)[target.primary]
        for name, one in (("run", predicted.values), ("export", values))
    }
    return {
        "score": target.primary,
        "n_clips": len(rows),
        **scores,
        "largest_difference": float(np.abs(values - predicted.values).max()),
    }


def _parts(rows: list[int], size: int = 256) -> list[list[int]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def _predicted(exported: Recogniser, dataset: Dataset, rows: list[int]) -> NDArray[np.float32]:
    clips = [{name: column[row] for name, column in dataset.columns.items()} for row in rows]
    return exported.predict(clips, [dataset.subjects[row] for row in rows])


def _readme(model: Mapping[str, bytes], graph: bytes, measured: Mapping[str, Any]) -> bytes:
    import onnx

    of_models = {name or "the model": one for name, one in measured.items() if name != "test"}
    values = {
        "recipe": _recipe(model),
        "mien": __version__,
        "inputs": [
            (one.name, _shape(one.type.tensor_type), onnx.TensorProto.DataType.Name(one.type.tensor_type.elem_type))
            for one in onnx.load_model_from_string(graph).graph.input
        ],
        "models": [
            (name, by, f"{one['bytes'][by] / 1e6:.2f}" if by in one["bytes"] else "", f"{ms:.2f}")
            for name, one in of_models.items()
            for by, ms in one["ms_per_clip"].items()
        ],
        "largest": f"{max(one['largest_difference'] for one in of_models.values()):.1g}",
        "test": measured.get("test"),
    }
    return _rendered("README.md", values)


def _shape(type: Any) -> str:
    return " x ".join(axis.dim_param or str(axis.dim_value) for axis in type.shape.dim)


def _recipe(model: Mapping[str, bytes]) -> ModelRecipe:
    return ModelRecipe.from_json(json.loads(model[RECIPE]))


def _rendered(name: str, values: Mapping[str, Any]) -> bytes:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mien.predict"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template(f"{name}.jinja").render(values).encode()
