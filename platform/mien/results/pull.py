"""What lies in a storage, and a copy of it: `mien runs list`, and `mien runs pull` to have results beside you.

A file is copied where it is missing here, or differs from the one there in size or time; each appears whole. A run's
DONE comes after everything else, so a pull that was broken off leaves no run that looks finished and is not.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

from mien.errors import MienError
from mien.folder import File, Folder, unfit_as_path
from mien.results.done import DONE
from mien.results.run import Series, numbers
from mien.results.search_folder import SearchFolder
from mien.results.settings import apart
from mien.results.shapes import Metrics, Named

N_AT_ONCE = 16  # a small file of S3 is all waiting
CHECKPOINTS = "checkpoints"
SCRATCH = ("ray", "tune")  # what Ray notes about a run or a search for itself


class Pulled(NamedTuple):
    """Files copied now, their bytes, the files that were here already, and of each that was left the reason, by key."""

    n_copied: int
    n_bytes: int
    n_same: int
    left: dict[str, str]


def pull(
    storage: Folder,
    directory: Folder,
    *,
    only: str = "",
    checkpoints: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pulled:
    """Copy runs from a storage into a local directory. only: "EXPERIMENT" or "EXPERIMENT/SIGNATURE".

    A key that cannot be a path below the directory is left, and so is a file for which this machine has no place.
    Raises MienError where there is nothing to copy, BucketError where S3 refuses.
    """
    if not directory.is_local:
        raise MienError(f"{directory}: pull copies into a folder of this machine")
    only = only.strip("/")
    there = {name: file for name, file in _files(storage, only).items() if _is_wanted(name, checkpoints)}
    if not there:
        found = ", ".join(storage.names()) or "nothing"
        raise MienError(f"{storage / only if only else storage}: no runs here; {storage} holds {found}")
    left = {name: why for name in there if (why := unfit_as_path(name))}
    here = directory.make().files()
    missing = [name for name, file in there.items() if here.get(name) != file and name not in left]
    n_done = 0
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        for last in (False, True):  # DONE last
            names = [name for name in missing if (name.rsplit("/", 1)[-1] == DONE) == last]
            copies = [pool.submit(_copy, storage, directory, name, there[name]) for name in names]
            try:
                for copy in as_completed(copies):
                    left |= copy.result()
                    n_done += 1
                    progress(n_done, len(missing))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    copied = [name for name in missing if name not in left]
    n_bytes = sum(there[name].size for name in copied)
    return Pulled(len(copied), n_bytes, len(there) - len(copied) - len(left), left)


def _files(storage: Folder, only: str) -> dict[str, File]:
    """By name from the storage on; with the baselines that what is asked for is compared with in its reports."""
    if not only:
        return storage.files()
    found = {f"{only}/{name}": file for name, file in (storage / only).files().items()}
    for name in [name for name in found if name.endswith("/baseline.json")]:
        baseline = storage.read_json(name, Named)
        folder = f"{baseline['experiment']}/{baseline['signature']}"
        found |= {f"{folder}/{name}": file for name, file in (storage / folder).files().items()}
    return found


def _is_wanted(name: str, checkpoints: bool) -> bool:
    folders = name.split("/")[:-1]
    return not set(SCRATCH) & set(folders[1:]) and (checkpoints or CHECKPOINTS not in folders)


def _copy(storage: Folder, directory: Folder, name: str, file: File) -> dict[str, str]:
    """Empty; or the name, and why it has no place here: too long, or a file where it needs a folder."""
    try:
        data = storage.read_bytes(name)
    except FileNotFoundError:  # a key that ends with a slash, or one that was deleted after it was listed
        return {name: "it cannot be read"}
    try:
        directory.write_bytes(name, data)
        os.utime(directory.path(name), ns=(file.mtime_ns, file.mtime_ns))
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        return {name: f"{error.filename}: {error.strerror}"}
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return {name: str(error.strerror)}
    return {}


def held(storage: Folder) -> Iterator[dict[str, Any]]:
    """A record for each series and search of a storage: what, where, how far."""
    for experiment in storage.folders():
        folder = storage / experiment
        if folder.exists("search.json"):
            n_trials = sum(len((folder / f"fold-{number}").names()) for number in numbers(folder, "fold-"))
            search = SearchFolder.open(folder.uri)
            yield {
                "experiment": experiment,
                "signature": "",
                "kind": "search",
                "done": f"{n_trials} trials",
                "protocol": search.search.experiment.protocol.kind,
                "synthetic": folder.exists("data.json") and _is_synthetic(search.data),
            }
        found = [Series.open((folder / name).uri) for name in folder.folders() if (folder / name).exists("data.json")]
        for series, values in zip(found, apart(found), strict=True):
            told = {"apart": ", ".join(values)}
            yield {"experiment": experiment, "signature": series.signature, **_progress(series), **told}


def _progress(series: Series) -> dict[str, Any]:
    """Of a series: runs done, what sets its score apart from others, and its test score where it was reported."""
    folder = series.folder
    runs = list(series.runs())
    n_done = sum(run.is_done for run in runs)
    primary = series.experiment.target.primary
    test, baseline = {}, {}
    if folder.exists("metrics.json"):
        metrics = folder.read_json("metrics.json", Metrics)
        test, baseline = metrics["test"].get(primary, {}), (metrics.get("baseline") or {}).get(primary, {})
    written_s = folder.modified_s("metrics.json") or folder.modified_s("data.json")
    begun = f", {len(runs) - n_done} begun" if n_done < len(runs) else ""
    return {
        "kind": "series",
        "done": f"{n_done} runs{begun}",
        "protocol": series.experiment.protocol.kind,
        "synthetic": _is_synthetic(series.data),
        "score": test.get("value"),
        "low": test.get("low"),
        "high": test.get("high"),
        "baseline": baseline.get("value"),
        "score_name": primary,
        "date": None if written_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(written_s)),
    }


def _is_synthetic(data: Mapping[str, Any]) -> bool:
    return any(corpus["synthetic"] for corpus in data["corpora"].values())
