"""Scripts: what a file of experiments/ declares, or what a run or a search left behind as JSON."""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from mien.errors import MienError
from mien.experiment import Experiment
from mien.experiment.search import Search
from mien.folder import SEAL


def load_experiment(path: str) -> Experiment:
    """The EXPERIMENT of a script, or the experiment of an experiment.json."""
    found = _load(path)
    if isinstance(found, dict):
        if "space" in found:
            raise MienError(f"{path}: is a search; give it to `mien search`")
        return Experiment.from_json(found, path)
    experiment = getattr(found, "EXPERIMENT", None)
    if not isinstance(experiment, Experiment) and isinstance(getattr(found, "SEARCH", None), Search):
        raise MienError(f"{path}: declares a search; give it to `mien search`")
    if not isinstance(experiment, Experiment):
        raise MienError(f"{path}: defines no EXPERIMENT; see experiments/sync_aug.py for one")
    return experiment


def load_search(path: str) -> Search:
    """The SEARCH of a script or of a search.json; an experiment alone is a search whose space is still to be given."""
    found = _load(path)
    if isinstance(found, dict):
        if "space" in found:
            return Search.from_json(found, path)
        return Search(experiment=Experiment.from_json(found, path))
    search = getattr(found, "SEARCH", None)
    return search if isinstance(search, Search) else Search(experiment=load_experiment(path))


def _load(path: str) -> Any:
    """The object of a JSON file, or the module of a script."""
    file = Path(path)
    if not file.is_file():
        raise MienError(f"{path}: no such experiment; give a script of experiments/ or an experiment.json")
    if file.suffix == ".json":
        try:
            found = json.loads(file.read_text())
        except ValueError as error:
            raise MienError(f"{path}: not JSON ({error})") from None
        if isinstance(found, dict):
            found.pop(SEAL, None)  # who takes the file of an earlier run as a script may change it
        return found
    spec = importlib.util.spec_from_file_location("experiment_script", file)
    if spec is None or spec.loader is None:
        raise MienError(f"{path}: neither a Python script nor a .json file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent.resolve()))  # as `python script.py` does: scripts build on each other
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise MienError(f"{path}: is no Python ({error})") from None
    except (ValueError, TypeError, NameError, ImportError) as error:  # a value, a field or a name that is none
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        raise MienError(f"{path}{f', line {lines[-1]}' if lines else ''}: {error}") from error
    finally:
        sys.path.pop(0)
    return module
