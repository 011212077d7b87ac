"""A Keras model as an ONNX graph, by tf2onnx."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

# First: it decides which Keras this process uses.
from mien.families.frameworks import tensorflow as _  # noqa: F401
from mien.families.frameworks.onnx import OPSET, OUTPUT

# isort: split
import tensorflow as tf
from keras.src.export.tf2onnx_lib import patch_tf2onnx  # numpy 2 took away what tf2onnx 1.17 calls


def graph_of(predict: Callable[[Mapping[str, Any]], Any], inputs: Mapping[str, Any], names: Mapping[str, str]) -> bytes:
    """predict: tensors by the model's names to (b, K). inputs: the model's name to `tf.TensorSpec`, axes of any length
    None. names: what an input of the graph is called, to the model's name."""
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch_tf2onnx()
    specs = [tf.TensorSpec(inputs[own].shape, inputs[own].dtype, name) for name, own in names.items()]

    @tf.function(input_signature=specs, autograph=False)
    def traced(*tensors: Any) -> dict[str, Any]:
        return {OUTPUT: predict(dict(zip(names.values(), tensors)))}

    model, _external = tf2onnx.convert.from_function(traced, specs, opset=OPSET)
    for value, (name, own) in zip(model.graph.input, names.items()):
        _rename(model.graph, value.name, name)
        axes = ("clips", f"steps_of_{own.rpartition('_')[0]}")
        for axis, called in zip(value.type.tensor_type.shape.dim, axes):
            axis.dim_param = called
    return model.SerializeToString()


def _rename(graph: Any, old: str, new: str) -> None:
    for value in (*graph.input, *graph.output):
        if value.name == old:
            value.name = new
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
