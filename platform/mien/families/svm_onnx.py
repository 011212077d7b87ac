"""Support vector machines as an ONNX graph: LIBSVM's operators in ai.onnx.ml, and the product of members.

float32, where numpy predicts in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien.families.frameworks.onnx import OPSET, OUTPUT
from mien.families.libsvm import Machine

ML = "ai.onnx.ml"


def graph_of(members: dict[str, list[Machine]], names: Sequence[str], *, is_of_classes: bool, floor: float) -> bytes:
    """members: by the name of what each reads (b, width): its machine of all classes, or one of each dimension.
    names: of the classes or dimensions. floor: smallest probability of a member."""
    graph = _Graph()
    parts = []
    for name, machines in members.items():
        graph.input(name, len(machines[0]["rows"][0]))
        rows = graph.add("Cast", [name], to=TensorProto.FLOAT)
        if is_of_classes:
            parts.append(graph.add("Log", [graph.probabilities(rows, machines[0], len(names), floor)]))
        else:
            parts.append(graph.add("Concat", [graph.ratings(rows, machine) for machine in machines], axis=1))
    if is_of_classes:
        graph.add("Softmax", [graph.add("Sum", parts)], OUTPUT, axis=1)
    else:
        graph.add("Mean", parts, OUTPUT)
    return graph.made(len(names))


class _Graph:
    """Nodes, in the order of their making."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._constants: list[onnx.TensorProto] = []

    def input(self, name: str, width: int) -> None:
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["clips", width]))

    def add(
        self, kind: str, inputs: Sequence[str], output: str = "", n: int = 1, domain: str = "", **fields: Any
    ) -> str:
        """A node; the name of its last output."""
        outputs = [f"{output or f'{kind}{len(self._nodes)}'}{'' if i == n - 1 else f'_{i}'}" for i in range(n)]
        self._nodes.append(helper.make_node(kind, list(inputs), outputs, domain=domain, **fields))
        return outputs[-1]

    def constant(self, array: NDArray) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def probabilities(self, rows: str, machine: Machine, n_classes: int, floor: float) -> str:
        """(b, n_classes), none below the floor; of a class that the training clips lack the floor."""
        known = machine["classes"].tolist()
        # scikit-learn turns the only pair of two classes round, LIBSVM and ONNX do not.
        sign = -1.0 if len(known) == 2 else 1.0
        found = self.add(
            "SVMClassifier",
            [rows],
            n=2,
            domain=ML,
            classlabels_ints=list(range(len(known))),
            coefficients=(sign * machine["coefficients"]).ravel().tolist(),
            kernel_params=[float(machine["gamma"]), 0.0, 3.0],
            kernel_type="RBF",
            post_transform="NONE",
            prob_a=machine["sigmoid_a"].tolist(),
            prob_b=machine["sigmoid_b"].tolist(),
            rho=(sign * machine["intercept"]).tolist(),
            support_vectors=machine["rows"].ravel().tolist(),
            vectors_per_class=machine["n_support"].tolist(),
        )
        spread = np.zeros((len(known), n_classes), np.float32)
        spread[np.arange(len(known)), known] = 1
        placed = self.add("MatMul", [found, self.constant(spread)])
        return self.add("Max", [placed, self.constant(np.array(floor, np.float32))])

    def ratings(self, rows: str, machine: Machine) -> str:
        """(b, 1)"""
        return self.add(
            "SVMRegressor",
            [rows],
            domain=ML,
            coefficients=machine["coefficients"].ravel().tolist(),
            kernel_params=[float(machine["gamma"]), 0.0, 3.0],
            kernel_type="RBF",
            n_supports=len(machine["rows"]),
            post_transform="NONE",
            rho=machine["intercept"].tolist(),
            support_vectors=machine["rows"].ravel().tolist(),
        )

    def made(self, n_outputs: int) -> bytes:
        output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["clips", n_outputs])
        graph = helper.make_graph(self._nodes, "svm", self._inputs, [output], self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, 3)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        onnx.checker.check_model(model)
        return model.SerializeToString()
