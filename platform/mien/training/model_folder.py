"""model/ of a finished run: all that is needed to use it, and nothing that is executed when it is read.

model/
  recipe.json        how the model was built, what it reads, what it predicts (`mien.families.recipe`)
  normaliser.npz     mean and spread of each column of each input
  weights.*          what the learner exported
  parents/<input>/   model/ of each run whose predictions it reads
  card.md            what a stranger has to know of it (`mien.training.card`)
"""

from __future__ import annotations

import io

import numpy as np

from mien.data.dataset import Dataset
from mien.data.feed import Feed
from mien.experiment import Experiment
from mien.experiment.target import TargetSpec
from mien.families.contract import Learner, Task
from mien.families.files import written
from mien.families.recipe import NORMALISER, PARENTS, RECIPE, ModelRecipe
from mien.results.calibration import fit_temperature
from mien.results.done import MODEL, read_model
from mien.results.predictions import Predicted
from mien.results.run import Run


def write_model(
    run: Run,
    experiment: Experiment,
    dataset: Dataset,
    task: Task,
    feed: Feed,
    learner: Learner,
    parents: tuple[Run, ...],
    temperature: float | None,
) -> None:
    """Writes model/ of a run whose learner stands where it was tested; recipe.json last."""
    folder = run.folder / MODEL
    recipe = ModelRecipe(
        model=task.model,
        training=task.training,
        loss=task.loss,
        seed=task.seed,
        target=task.target,
        inputs=task.inputs,
        extractors={name: dataset.recipes.get(name) for name in task.inputs},
        normalise=experiment.data.normalise,
        is_synthetic=any(dataset.synthetic.values()),
        pictures=experiment.data.pictures,
        picture_step=experiment.data.picture_step,
        temperature=temperature,
    )
    for name, content in written(learner.export).items():
        folder.write_bytes(name, content)
    arrays = io.BytesIO()
    np.savez(arrays, **feed.normaliser.to_arrays())  # type: ignore[arg-type]  # numpy's stub
    folder.write_bytes(NORMALISER, arrays.getvalue())
    for name, parent in zip(recipe.parents, parents):
        for file, content in read_model(parent.folder).items():
            folder.write_bytes(f"{PARENTS}/{name}/{file}", content)
    folder.write_json(RECIPE, recipe.to_json())


def temperature_of(target: TargetSpec, held_out: Predicted | None) -> float | None:
    """What the confidence of a model is to be divided by, by its validation clips. None of dimensions, and where none
    was held out: by clips that it learned from it would always seem to be sure for good reason."""
    if target.kind != "classes" or held_out is None:
        return None
    return fit_temperature(held_out.truth, held_out.values)
