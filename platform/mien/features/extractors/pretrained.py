"""A published network of the transformers library: found, checked and loaded.

A model is a folder, an `s3://` or `file://` URI of one, or a name on the Hugging Face hub. What the hub sends is kept
where its own library keeps it (`$HF_HOME`), and looked for there first; a bucket's files are copied to the folder of
weights (`mien.features.extractors.weights`).

Weights are read from safetensors files only, and no code that lies beside them is run: a pickle can run any code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mien.errors import ExperimentError, MienError
from mien.features.extractors.weights import cache_folder
from mien.folder import Folder

RANDOM = "random"
# As save_pretrained of transformers writes them: the weights in one file, or an index and the shards that it names.
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS, INDEX, SHARDS = "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"
REMEDY = (
    f"give model a folder with {CONFIG}, {PREPROCESSOR} and {WEIGHTS}, as save_pretrained of transformers writes them, "
    f'or try things out with model "{RANDOM}"'
)
NO_PICKLE = (
    "mien reads no pickles (pytorch_model.bin), which can run any code: convert it where you trust it, by "
    "AutoModel.from_pretrained(ID).save_pretrained(FOLDER)"
)

Precision = Literal["float32", "bfloat16"]


class Pretrained(NamedTuple):
    """A network on this machine, or one with random weights.

    model: as it was asked for. folder: of its files; None for random weights. weights, config: SHA-256 in hex of the
    weights' file, and of the two configurations; "random" for random weights. Of several files it is that of the lines
    that sha256sum prints for them, in the order of their names.
    """

    model: str
    folder: Path | None
    weights: str
    config: str

    @property
    def sums(self) -> dict[str, str]:
        """What a FeatureSpec says of it: reports warn of weights that are "random" (mien.results.report.caveats)."""
        return {"weights": self.weights, "config": self.config}


def find_pretrained(model: str, revision: str | None = None, sha256: str | None = None) -> Pretrained:
    """The files of a network, fetched where need be.

    model: see above, or "random". revision: commit, tag or branch on the hub. sha256: what that of the weights must be.
    Raises MienError where there is no such network, where it lacks a file or where its weights are others.
    """
    if model == RANDOM:
        return Pretrained(model, None, RANDOM, RANDOM)
    folder = _folder(model, revision)
    found = Pretrained(model, folder, _sum(folder, _weights_in(Folder(folder))), _sum(folder, (CONFIG, PREPROCESSOR)))
    if sha256 is not None and found.weights != sha256.lower():
        raise refused(
            model,
            f"SHA-256 of its weights is {found.weights}, expected {sha256}; broken or other files: remove {folder} and "
            "get it again",
        )
    return found


def refused(model: str, why: str) -> MienError:
    """The error that a network cannot be used, and what to do."""
    return MienError(f"model {model}: {why}; {REMEDY}")


def load_description(found: Pretrained, kind: Any) -> Any:
    """What a class of transformers (AutoConfig, AutoImageProcessor) reads from the files beside the weights.

    Raises MienError where this release of transformers does not know them.
    """
    try:
        with _quiet():
            return kind.from_pretrained(found.folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise refused(found.model, f"cannot be used ({_line(error)})") from error


def load_network(found: Pretrained, config: Any, precision: Precision, *, unused: str) -> Any:
    """The network without a head, to be read and not trained; of a config that is a part of the folder's, that part.
    For random weights, those of seed 0 in the shape that config says.

    unused: how the names of weights begin whose numbers nobody reads ("pooler."), "" for none. Raises MienError where
    other weights of it are not in the files: transformers would fill them in at random.
    """
    import torch
    from transformers import AutoModel

    dtype = getattr(torch, precision)
    with _quiet(), torch.random.fork_rng(devices=[]):
        if found.folder is None:
            torch.manual_seed(0)  # what "random" means, each time
            return AutoModel.from_config(config).to(dtype).eval()
        try:
            network, loading = AutoModel.from_pretrained(
                found.folder,
                config=config,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
        except Exception as error:
            raise refused(found.model, f"its weights cannot be read ({_line(error)})") from error
    lacking = sorted(name for name in loading["missing_keys"] if not (unused and name.startswith(unused)))
    if lacking:
        raise refused(
            found.model,
            f"its files lack {len(lacking)} weights of it, such as {lacking[0]}, which would be random",
        )
    return network.eval()


# ---------------------------------------------------------------------- where it is


def _folder(model: str, revision: str | None) -> Path:
    """The folder of its files on this machine, with all that are needed."""
    in_bucket, folder = model.startswith("s3://"), Path(model.removeprefix("file://")).expanduser().absolute()
    if not in_bucket and not folder.is_dir() and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", model):
        return _from_hub(model, revision)
    if revision is not None:
        raise ExperimentError(f"revision {revision}: model {model} is not a name on the hub; leave the revision out")
    if not in_bucket and not folder.is_dir():
        raise refused(model, "there is no such folder")
    source = Folder(model if in_bucket else folder)
    if lacking := _lacking(source):
        raise refused(model, lacking)
    return _copied(source) if in_bucket else folder


def _from_hub(model: str, revision: str | None) -> Path:
    """The hub is asked only where this machine has not got it, or not all of it."""
    from huggingface_hub import snapshot_download

    files, why, cause = [CONFIG, PREPROCESSOR, WEIGHTS, INDEX, SHARDS], "", None
    for is_here in (True, False):
        try:
            with _quiet():
                here = snapshot_download(model, revision=revision, allow_patterns=files, local_files_only=is_here)
        except Exception as error:  # of its own kinds, of the connection, of the disk
            why, cause = f"no such folder here, and not to be had from the hub ({_line(error)})", error
            continue
        if not (why := _lacking(Folder(here))):
            return Path(here)
    raise refused(model, why) from cause


def _copied(source: Folder) -> Path:
    """A copy on this machine, by the size and the time of each file: those written anew are fetched anew."""
    needed = _needed(source)
    files = {name: file for name, file in source.files().items() if name in needed}
    key = hashlib.sha256(json.dumps([source.uri, files]).encode()).hexdigest()[:16]
    copy = cache_folder() / f"pretrained-{key}"
    if not copy.is_local:
        raise refused(source.uri, f"no room for a copy in {copy}: set MIEN_WEIGHTS to a folder of this machine")
    for name in files:
        if not copy.exists(name):
            copy.write_bytes(name, source.read_bytes(name))
    return Path(copy.uri)


# ---------------------------------------------------------------------- its files


def _weights_in(folder: Folder) -> list[str]:
    names = folder.names()
    if WEIGHTS in names or INDEX not in names:
        return [WEIGHTS]
    index = folder.read_json(INDEX, dict[str, dict[str, Any]])
    return sorted(set(map(str, index.get("weight_map", {}).values()))) or [WEIGHTS]


def _needed(folder: Folder) -> list[str]:
    weights = _weights_in(folder)
    return [CONFIG, PREPROCESSOR, *weights, *([INDEX] if weights != [WEIGHTS] else [])]


def _lacking(folder: Folder) -> str:
    """What is not in it of what is needed, in words; "" where all is."""
    names = folder.names()
    absent = next((name for name in _needed(folder) if name not in names), None)
    if absent is None:
        return ""
    return f"there is no {absent} in it" + (f"; {NO_PICKLE}" if absent == WEIGHTS else "")


def _sum(folder: Path, names: Iterable[str]) -> str:
    """See Pretrained."""
    sums = {}
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    if len(sums) == 1:
        return next(iter(sums.values()))
    return hashlib.sha256("".join(f"{found}  {name}\n" for name, found in sums.items()).encode()).hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers and the hub without progress, and without the table of weights that are not needed."""
    from transformers.utils import logging

    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


def _line(error: Exception) -> str:
    """The first line of what a library says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
