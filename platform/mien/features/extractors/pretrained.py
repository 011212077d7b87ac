"""A published network of the transformers library: a folder, or a name on the Hugging Face hub that is fetched once.

Weights are read from safetensors files only, and no code that lies beside them is run: neither can do more than
numbers can. What the hub sends is kept where its own library keeps it (`$HF_HOME`), so what it fetched before is found.
"""

from __future__ import annotations

import hashlib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from mien.errors import MienError

# What decides the numbers, by the names under which transformers' save_pretrained writes it.
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors")
FILES = ("config.json", "preprocessor_config.json", "model.safetensors.index.json", *WEIGHTS)
REMEDY = 'give a folder that save_pretrained wrote, or try things out with model "random"'


class Pretrained(NamedTuple):
    """A network's folder on this machine, and the SHA-256 in hex of the names and bytes of its FILES."""

    folder: Path
    sha256: str


def find_pretrained(model: str, revision: str | None = None) -> Pretrained:
    """The files of a network.

    model: a folder, or "owner/name" of the hub. revision: commit, tag or branch on the hub. Raises MienError where
    there is no such network, or it has no weights as safetensors.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        folder = _fetch(model, revision)
    elif revision is not None:
        raise MienError(f"model {model}: a folder has no revision {revision}; leave the revision out")
    names = sorted(path.name for path in folder.iterdir() if any(fnmatch(path.name, pattern) for pattern in FILES))
    if "config.json" not in names:
        raise MienError(f"model {model}: no config.json in it; {REMEDY}")
    if not _has_weights(names):
        raise MienError(f"model {model}: no model.safetensors in it, and other kinds of weights are not read; {REMEDY}")
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}:{_sha256(folder / name)}\n".encode())
    return Pretrained(folder, digest.hexdigest())


def load_config(found: Pretrained) -> Any:
    """Its configuration, a PretrainedConfig. Raises MienError where this release of transformers does not know it."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(found.folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise MienError(
            f"model {found.folder}: not a network that transformers knows ({_line(error)}); {REMEDY}"
        ) from error


def load_network(found: Pretrained, config: Any, *, dtype: str = "float32", unread: str = "") -> Any:
    """The network without a head, to be read and not trained; of a config that is a part of the folder's, that part.

    unread: how the names of weights begin whose numbers nobody reads ("pooler."). Raises MienError where other weights
    of it are not in the folder: transformers would fill them in at random.
    """
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # a head that is left out is a table of warnings
    logging.disable_progress_bar()
    try:
        network, loading = AutoModel.from_pretrained(
            found.folder,
            config=config,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise MienError(f"model {found.folder}: its weights cannot be read ({_line(error)}); {REMEDY}") from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    lacking = sorted(name for name in loading["missing_keys"] if not (unread and name.startswith(unread)))
    if lacking:
        raise MienError(
            f"model {found.folder}: its files lack {len(lacking)} weights of it, such as {lacking[0]}, which would be "
            f"random; {REMEDY}"
        )
    return network.eval()


def _fetch(model: str, revision: str | None) -> Path:
    """The folder of a network of the hub; the hub is asked only where this machine has not got it."""
    if model.count("/") > 1 or model.startswith(("/", ".", "~")):
        raise MienError(f"model {model}: no such folder; {REMEDY}")
    from huggingface_hub import snapshot_download

    error: Exception | None = None
    for is_here in (True, False):
        try:
            folder = Path(
                snapshot_download(model, revision=revision, allow_patterns=list(FILES), local_files_only=is_here)
            )
        except Exception as this:  # of its own kinds, of the connection, of the disk
            error = this
            continue
        if _has_weights([path.name for path in folder.iterdir()]) or not is_here:
            return folder
    raise MienError(
        f"model {model}: no such folder, and not to be had from the hub ({_line(error)}); {REMEDY}"
    ) from error


def _has_weights(names: list[str]) -> bool:
    return any(fnmatch(name, pattern) for name in names for pattern in WEIGHTS)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _line(error: Exception | None) -> str:
    """The first line of what a library says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
