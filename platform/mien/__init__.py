"""mien: experiments in multimodal emotion recognition, from a laptop to a cluster.

    import mien

    mien.prepare("ravdess", "downloads/ravdess", "store", ["egemaps"])   # recordings -> features in a store
    series = mien.launch(mien.Experiment(name="first"))                  # -> runs, one per fold and seed
    mien.report(series)                                                  # -> report.html, figures, metrics.json
    mien.load_run(series.run(0, 0).folder.uri)(audio="someone.wav")      # -> {"anger": 0.1, ...}
    mien.predict_files(series.folder.uri, ["recordings/"]).files         # -> a table, of all folds and seeds together

Also search (Ray Tune) and compare. Each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.experiment import Experiment as Experiment
    from mien.features.prepare import prepare as prepare
    from mien.predict.files import predict_files as predict_files
    from mien.predict.recogniser import load_run as load_run
    from mien.results.report import compare as compare
    from mien.results.report import report as report
    from mien.training.launch import launch as launch
    from mien.training.search.search import search as search

__version__ = "0.2.0"

_FACE = {
    "Experiment": "mien.experiment",
    "prepare": "mien.features.prepare",
    "launch": "mien.training.launch",
    "search": "mien.training.search.search",
    "report": "mien.results.report",
    "compare": "mien.results.report",
    "load_run": "mien.predict.recogniser",
    "predict_files": "mien.predict.files",
}
__all__ = ["Experiment", "__version__", "compare", "launch", "load_run", "predict_files", "prepare", "report", "search"]


def __getattr__(name: str) -> Any:
    """The public face, imported when it is asked for: `import mien` loads neither ray nor a framework."""
    if name not in _FACE:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    return getattr(import_module(_FACE[name]), name)


def __dir__() -> list[str]:
    return __all__
