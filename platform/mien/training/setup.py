"""What a run is before its first epoch: its experiment, its split, the machine that trains it."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import numpy as np

import mien
from mien.data.dataset import Dataset
from mien.data.parents import split_record
from mien.data.splits import Split
from mien.experiment import Experiment
from mien.families import FAMILIES
from mien.families.contract import Group
from mien.results.machine import instance_type
from mien.results.run import Run

PACKAGES = {"sklearn": "scikit-learn"}  # where the package on the index has another name than the module


def write_setup(run: Run, experiment: Experiment, dataset: Dataset, split: Split, group: Group) -> None:
    """Writes experiment.json, split.json and environment.json."""
    framework = FAMILIES[experiment.model.family].framework
    run.folder.write_json("experiment.json", experiment.to_json())
    run.folder.write_json("split.json", split_record(split, dataset.clip_ids, dataset.subjects))
    run.folder.write_json(
        "environment.json",
        {
            "mien": mien.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "ray": importlib.metadata.version("ray"),
            framework: importlib.metadata.version(PACKAGES.get(framework, framework)),
            "machine": platform.machine(),
            "instance_type": instance_type(),
            "cpus": os.cpu_count(),
            "device": group.device,
            "workers": group.world,
        },
    )
