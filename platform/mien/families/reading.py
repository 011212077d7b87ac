"""What a model is given of a batch, in numpy: the same for a framework and for an export that runs without one.

Each takes a batch and a task, and returns arrays by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.batches import Batch
from mien.experiment import AffectEnsembleConfig, AvTransformerConfig, SvmConfig
from mien.families.contract import Task
from mien.families.pooling import pooled
from mien.families.steps import steps_of
from mien.features.spec import FeatureSpec

Arrays = dict[str, NDArray[Any]]


def frames(batch: Batch, task: Task) -> Arrays:
    """Of each input its values (b, T, *shape) and mask (b, T), as "values/<input>" and "mask/<input>"."""
    return {f"values/{name}": batch.values[name] for name in task.inputs} | {
        f"mask/{name}": batch.masks[name] for name in task.inputs
    }


def steps(batch: Batch, task: Task) -> Arrays:
    """Of each input its values (b, T, *shape), mask (b, T) and times_s (b, T), as "<part>/<input>"."""
    config = task.model
    assert isinstance(config, AvTransformerConfig)
    found = steps_of(batch, task.inputs, config.step_s, config.max_steps)
    return {f"{part}/{name}": array for name, one in found.items() for part, array in one._asdict().items()}


def rows(batch: Batch, task: Task) -> Arrays:
    """rows: (b, width): mean and spread of each input, and a bit for each that says whether it is there."""
    present = [mask.any(axis=1, keepdims=True) for mask in batch.masks.values()]
    return {"rows": np.hstack([*pooled(batch, task.inputs).values(), *present]).astype(np.float32)}


def members(batch: Batch, task: Task) -> Arrays:
    """What each member of a support vector machine reads, (b, its width) float64, as "rows/<member>"."""
    config = task.model
    assert isinstance(config, SvmConfig)
    by_input = pooled(batch, task.inputs)
    return {
        f"rows/{member}": np.hstack([by_input[name] for name in member.split("+")])
        for member in config.members or ("+".join(task.inputs),)
    }


def pictures(batch: Batch, task: Task) -> Arrays:
    """pictures: (b, T, H, W, 3) uint8. mask: (b, T)."""
    (name,) = task.inputs
    return {"pictures": batch.values[name], "mask": batch.masks[name]}


def fused(batch: Batch, task: Task) -> Arrays:
    """For early fusion all inputs on one clock, else each by itself."""
    config = task.model
    assert isinstance(config, AffectEnsembleConfig)
    return on_one_clock(batch, task, config.step_s) if config.fusion == "early" else frames(batch, task)


def on_one_clock(batch: Batch, task: Task, step_s: float) -> Arrays:
    """steps: (b, T, width), at each step the nearest frame of each input and a bit that says whether there is a valid
    one; rows stand at each step. mask: (b, T), up to the last step that has any."""
    lasts = {name: _last_s(spec, batch.masks[name]) for name, spec in task.inputs.items()}
    n_steps = 1 + int(max(last_s.max() for last_s in lasts.values()) / step_s + 0.5)
    times_s = np.arange(n_steps) * step_s
    parts, there = [], []
    for name, spec in task.inputs.items():
        values, mask = batch.values[name], batch.masks[name]
        values = values.reshape(*mask.shape, -1)
        if spec.hop_s is None:
            nearest, is_within = np.zeros(n_steps, int), np.ones(n_steps, bool)
        else:
            nearest = np.rint((times_s - spec.offset_s) / spec.hop_s).astype(int)
            nearest = np.maximum(nearest, 0)  # a window's centre lies after the first step
            is_within = nearest < mask.shape[1]
            nearest = np.minimum(nearest, mask.shape[1] - 1)
        valid = mask[:, nearest] & is_within
        there.append(valid & (spec.hop_s is not None))
        parts += [values[:, nearest] * valid[..., None], valid[..., None]]
    mask = np.any(there, axis=0)
    mask = np.flip(np.logical_or.accumulate(np.flip(mask, 1), axis=1), 1).copy()  # torch reads no negative strides
    mask[:, 0] = True  # of a clip of rows alone
    return {"steps": np.concatenate(parts, axis=-1).astype(np.float32) * mask[..., None], "mask": mask}


def _last_s(spec: FeatureSpec, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(b,): the time of the last valid frame of a sequence, 0 without one."""
    if spec.hop_s is None:
        return np.zeros(len(mask))
    last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
    return np.where(mask.any(axis=1), spec.offset_s + last * spec.hop_s, 0.0)
