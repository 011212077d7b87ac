"""Memory that runs out while a run is trained, in one sentence that says what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mien.errors import MemoryShortError
from mien.experiment import Experiment
from mien.families import FAMILIES
from mien.results.run import Run

# What frameworks raise, by name since neither may be imported here: torch.OutOfMemoryError of a GPU, TensorFlow's own.
CLASSES = ("OutOfMemoryError", "ResourceExhaustedError")
# What torch says in a plain RuntimeError: its allocator of main memory, cuBLAS, and C++.
TEXTS = ("can't allocate memory", "not enough memory", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "bad_alloc")
WIDTHS = ("width", "units", "lstm_units")  # of a model, the one that most of its memory follows


@contextmanager
def memory_explained(run: Run, experiment: Experiment) -> Iterator[None]:
    """Memory that runs out inside is raised as MemoryShortError; all else as it is."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        on_gpu = "CUDA" in str(error) or "GPU" in str(error)
        raise MemoryShortError(
            str(run.folder),
            f"out of memory{' on the GPU' if on_gpu else ''}",
            f"lower {what_to_lower(experiment, on_gpu=on_gpu)}",
        ) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory could not be had, in the words of Python, torch or TensorFlow."""
    if isinstance(error, MemoryError) or any(kind.__name__ in CLASSES for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in TEXTS)


def what_to_lower(experiment: Experiment, *, on_gpu: bool = False) -> str:
    """The settings of an experiment that its memory follows, with their values.

    >>> from mien.experiment import DataConfig, Experiment, MlpConfig
    >>> what_to_lower(Experiment(name="x", model=MlpConfig(units=512)))
    'training.batch_size (32) or model.units (512)'
    """
    family, execution = FAMILIES[experiment.model.family], experiment.execution
    told = {}
    if family.is_iterative:
        told["training.batch_size"] = str(experiment.training.batch_size)
    else:
        told["data.features"] = str(len(experiment.data.features))
    if experiment.data.pictures or family.reads == ("pictures",):
        told["data.pictures"] = str(experiment.data.pictures or "all")
    name = next((name for name in WIDTHS if hasattr(experiment.model, name)), None)
    if name:
        told[f"model.{name}"] = str(getattr(experiment.model, name))
    if not on_gpu:  # of which each has its own
        told |= {
            f"execution.{name}": str(getattr(execution, name))
            for name in ("parallel", "workers")
            if getattr(execution, name) > 1
        }
    *others, last = [f"{path} ({value})" for path, value in told.items()]
    return f"{', '.join(others)} or {last}" if others else last
