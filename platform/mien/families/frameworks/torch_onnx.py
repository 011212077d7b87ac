"""A torch model as an ONNX graph, by torch's own exporter (torch.export)."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from mien.families import FAMILIES
from mien.families.contract import Task
from mien.families.frameworks import torch as _  # noqa: F401 - it looks for the other framework first
from mien.families.frameworks.onnx import OPSET, OUTPUT, example_batch

# isort: split
import torch
from torch import Tensor, nn

LENGTHS = (9, 5), (23, 17, 11)  # of the clips of two batches: what differs between them may be any number


def graph_of(model: nn.Module, task: Task) -> bytes:
    """model: in its mode of prediction, on the CPU. Any number of clips and of steps fits the graph."""
    read = FAMILIES[task.model.family].read
    one, two = (read(example_batch(task, lengths), task) for lengths in LENGTHS)
    shapes = tuple(_dynamic(name, one[name].shape, two[name].shape) for name in one)
    traced = _Values(model, list(one), is_of_classes=task.target.kind == "classes").eval()
    file = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            traced,
            tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in one.values()),
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=list(one),
            output_names=[OUTPUT],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    program.save(file)
    return without_traces(file.getvalue())


def without_traces(graph: bytes) -> bytes:
    """The graph without what the exporter notes of each node: lines and paths of the code that it came from."""
    model = onnx.load_model_from_string(graph)
    for thing in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info):
        thing.doc_string = ""
        del thing.metadata_props[:]
    for function in model.functions:
        del function.metadata_props[:]
        for node in function.node:
            node.doc_string = ""
            del node.metadata_props[:]
    return model.SerializeToString()


class _Values(nn.Module):
    """The arrays of a reading, one after the other, to what the first head predicts."""

    def __init__(self, model: nn.Module, names: Sequence[str], *, is_of_classes: bool) -> None:
        super().__init__()
        self.model, self._names, self._is_of_classes = model, names, is_of_classes

    def forward(self, *arrays: Tensor) -> Tensor:
        values = self.model(dict(zip(self._names, arrays)))[0]
        return values.softmax(dim=-1) if self._is_of_classes else values


def _dynamic(name: str, one: Sequence[int], two: Sequence[int]) -> dict[int, Any]:
    """Which axes of an array may have any length. Those of one input are as long as each other."""
    axes: dict[int, Any] = {0: torch.export.Dim("clips")}
    if one[1:2] != two[1:2]:
        axes[1] = torch.export.Dim("steps_of_" + re.sub(r"\W", "_", name.partition("/")[2] or "all"))
    return axes
