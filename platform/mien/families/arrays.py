"""Arrays of a learner in one file, which can be read without executing anything that is in it.

learner.npz   all that a checkpoint holds: weights, averages, state of the optimiser
weights.npz   the model alone, as it predicts
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DamagedError

CHECKPOINT = "learner.npz"
WEIGHTS = "weights.npz"


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy takes a mapping's keys for allow_pickle


def read_arrays(path: Path, like: Mapping[str, NDArray[Any]] | None = None) -> dict[str, NDArray[Any]]:
    """What `write_arrays` wrote. like: arrays whose names and shapes it must have; None takes what there is.

    Raises DamagedError for what is no such file: cut, of another model, or a pickle, which is not unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DamagedError(f"{path.name}: a single array, and not the arrays of a learner")
            arrays = {name: file[name] for name in file.files}
    # Of a flipped bit zipfile says that a file is encrypted, or that it knows no such compression: RuntimeError.
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise DamagedError(f"{path.name}: not the arrays of a learner, and nothing else is read ({error})") from error
    if like is not None:
        _check_same(path, arrays, like)
    return arrays


def _check_same(path: Path, arrays: Mapping[str, NDArray[Any]], like: Mapping[str, NDArray[Any]]) -> None:
    if arrays.keys() != like.keys():
        odd = sorted(arrays.keys() ^ like.keys())
        raise DamagedError(
            f"{path.name}: arrays of another model; it and this one do not both have {', '.join(odd[:3])}"
        )
    for name, array in arrays.items():
        if array.shape != like[name].shape:
            raise DamagedError(f"{path.name}: {name} is {array.shape} and this model's is {like[name].shape}")
