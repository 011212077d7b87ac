"""A model as an ONNX graph: run without its framework, and made smaller by integers of eight bits.

The inputs of a graph are the arrays of its family's reading (`mien.families.reading`); its one output, "values" (b, K),
is what `Learner.predict` returns: class probabilities, or dimensions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.batches import Batch, make_batches, plain_order, stable_seed
from mien.data.targets import Target
from mien.errors import DamagedError, ExperimentError
from mien.families import FAMILIES
from mien.families.contract import Predictions, Task
from mien.features.spec import FeatureSpec, Frames

GRAPH = "model.onnx"
OUTPUT = "values"
OPSET = 18


class OnnxModel:
    """A graph under onnxruntime, on one thread; a `mien.families.contract.Predictor`.

    Raises DamagedError where the graph is none, or reads other inputs than the family of the task gives it.
    """

    def __init__(self, task: Task, graph: bytes) -> None:
        self._task, self._read = task, FAMILIES[task.model.family].read
        self._session = _session(graph)
        self._names = [one.name for one in self._session.get_inputs()]
        given = self._read(example_batch(task, (3,)), task)
        if unknown := set(self._names) - given.keys():
            raise DamagedError(f"{GRAPH}: reads {', '.join(sorted(unknown))}, and its recipe gives {', '.join(given)}")

    def predict(self, batches: Iterable[Batch], *, dropout: int | None = None) -> Predictions:
        if dropout is not None:
            raise ExperimentError("dropout: a graph of ONNX drops nothing; take the run that was exported")
        values, rows = [], []
        for batch in batches:
            is_real = batch.rows >= 0
            values.append(self.run(self._read(batch, self._task))[is_real])
            rows.append(batch.rows[is_real])
        return Predictions(np.concatenate(values), np.concatenate(rows))

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """What the graph makes of the arrays of a reading, (b, K)."""
        (values,) = self._session.run([OUTPUT], {name: np.ascontiguousarray(arrays[name]) for name in self._names})
        return values


def _session(graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DamagedError(f"{GRAPH}: no graph that onnxruntime reads: {error}") from error


def example_batch(task: Task, lengths: tuple[int, ...]) -> Batch:
    """Made-up clips, as long as lengths say in frames, the same each time: to trace a model by, and to compare two.

    The last frame of each but the first clip is masked.
    """
    rng = np.random.default_rng(stable_seed("example", *lengths))
    clips = [
        {name: _made_up(spec, length, rng, is_whole=i == 0) for name, spec in task.inputs.items()}
        for i, length in enumerate(lengths)
    ]
    nothing = np.zeros((len(clips), len(task.target.names)), np.float32)
    target = Target(task.target, nothing[:, 0], nothing, np.zeros_like(nothing, bool), np.zeros(len(clips), np.int64))
    (batch,) = make_batches(
        plain_order(range(len(clips)), len(clips)),
        lambda row, copy: clips[row],
        target,
        task.inputs,
        batch_size=len(clips),
    )
    return batch


def _made_up(spec: FeatureSpec, length: int, rng: np.random.Generator, *, is_whole: bool) -> Frames:
    n = 1 if spec.hop_s is None else length
    if not spec.is_numeric:
        values: NDArray[Any] = rng.integers(0, 256, (n, *spec.shape)).astype(np.uint8)
    elif spec.modality == "prediction":
        values = rng.dirichlet(np.ones(spec.dim), n).astype(np.float32)
    else:
        values = rng.normal(size=(n, *spec.shape)).astype(np.float32)
    valid = np.ones(n, bool)
    valid[-1] = is_whole or n == 1
    return Frames(values, valid)


def in_eight_bits(graph: bytes) -> bytes:
    """A graph whose matrices are integers of eight bits; what flows through it is quantised as it runs.

    Constants are folded first: torch's LSTMs have weights that are sliced together, and what is no constant would
    silently stay float.
    """
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as place:
        whole, folded, small = (Path(place) / f"{name}.onnx" for name in ("whole", "folded", "small"))
        whole.write_bytes(graph)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(whole), options, providers=["CPUExecutionProvider"])
        quantize_dynamic(folded, small, weight_type=QuantType.QInt8)
        return small.read_bytes()
