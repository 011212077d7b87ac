"""Executes the notebooks of docs/tutorials in order, and writes what they print and draw back into them: `make notebooks`."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "docs/tutorials").glob("*.ipynb"))
# What they read of the project beside the package; they find it two folders up, as a reader's do.
BESIDE = ("cluster.yaml",)
LIMIT_S = 900  # of a cell, on a machine that is busy with other things


def working_folder(root: Path) -> Path:
    """An empty docs/tutorials below this folder, with what the notebooks look for above it."""
    for name in BESIDE:
        shutil.copy(ROOT / name, root / name)
    folder = root / "docs/tutorials"
    folder.mkdir(parents=True)
    return folder


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, executed in a process of its own whose working folder this is.

    Raises CellExecutionError for a cell that fails. Of paths in the outputs the working folder is cut off.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "RAY_ADDRESS")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # `!mien` is that of this environment
        "PYTHONPATH": str(ROOT / "platform"),
        "IPYTHONDIR": str(folder / ".ipython"),
    }
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=LIMIT_S,
        startup_timeout=LIMIT_S,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            # On stderr is what libraries say of this machine, such as that it has no ipywidgets.
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                _tidy(output, f"{folder}/")
    notebook.metadata.pop("widgets", None)
    # As they were committed: the kernel would add the version of its Python.
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return notebook


def _tidy(output: dict, prefix: str) -> None:
    """Takes the prefix, and the colours of a terminal, out of all text of an output."""
    for texts in (output, output.get("data", {})):
        for name, text in texts.items():
            if isinstance(text, str) and not name.startswith("image/"):
                texts[name] = re.sub(r"\x1b\[[\d;]*m", "", text.replace(prefix, ""))


def main() -> None:
    root = Path(tempfile.mkdtemp(prefix="notebooks-"))
    try:
        folder = working_folder(root)
        for path in NOTEBOOKS:
            print(path.name, flush=True)
            nbformat.write(execute(path, folder), path)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
