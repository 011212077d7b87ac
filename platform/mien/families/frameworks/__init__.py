"""What a worker needs of its framework besides a model: threads, determinism, sums over all workers, losses.

One framework per process: torch and TensorFlow each bring an LLVM, and torch after Keras aborts ("LLVM ERROR:
inconsistency in registered CommandLine options", return code 134; seen with torch 2.15 and tensorflow 2.21).
"""

from __future__ import annotations

import sys
from importlib import import_module

from mien.errors import MienError
from mien.families.contract import Framework, Group

MODULES: dict[Framework, str] = {
    "tensorflow": "mien.families.frameworks.tensorflow",
    "torch": "mien.families.frameworks.torch",
    "sklearn": "mien.families.frameworks.sklearn",
}
OTHER = {"tensorflow": "torch", "torch": "tensorflow"}


def group(framework: Framework, rank: int = 0, world: int = 1) -> Group:
    """This worker's place in its group, before the first learner of a process is built; sets threads and determinism.

    Imports the framework. The worker group of Ray Train must stand where world is above 1. The group's device is "cuda"
    where this process sees a GPU, else "cpu". Raises MienError where the other framework is imported, where the
    framework is not connected as rank of world, and for scikit-learn in more than one worker.
    """
    return import_module(MODULES[framework]).group(rank, world)


def check_alone(framework: Framework) -> None:
    """Raises MienError where this process has imported the framework that cannot stand beside this one."""
    other = OTHER[framework]
    if other in sys.modules:
        raise MienError(
            f"{framework} cannot be used in a process that has imported {other}: the second of the two would abort "
            f"Python. Use {framework} in a process of its own"
        )
