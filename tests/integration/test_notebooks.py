"""The notebooks of the tutorials run, one after the other as a reader would, and what is committed of them is whole."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

from notebooks import NOTEBOOKS, execute, working_folder

# Folders of a machine; relative paths, URIs and addresses of the web are no such thing.
ABSOLUTE = re.compile(r"(?<![\w.:/~-])/(?:tmp|home|root|work|Users|usr|opt|mnt|var|private)/[\w.-]+|\b[A-Z]:\\")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)[^)\s]*\)")


def texts(value: object) -> list[str]:
    """All text of a notebook but its pictures."""
    if isinstance(value, dict):
        return [text for key, one in value.items() if not key.startswith("image/") for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


def test_there_are_notebooks():
    assert [path.name[:3] for path in NOTEBOOKS] == ["02-", "03-", "04-", "05-", "06-", "07-"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebooks_hold_their_outputs_and_no_path_of_a_machine(path: Path):
    book = json.loads(path.read_text())
    nbformat.validate(book)
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), "not executed once from the top"
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
    shown = [text for output in outputs for text in output.get("data", {}).values()]
    assert all(shown), "an empty output"
    assert not [text for text in texts(shown) if " object at 0x" in text], "a cell ends with a value that says nothing"
    assert any("image/png" in output.get("data", {}) for output in outputs) or path.stem.startswith("07")
    assert [found[0] for text in texts(book) if (found := ABSOLUTE.search(text))] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_notebooks_lead_somewhere(path: Path):
    cells = nbformat.read(path, as_version=4).cells
    links = [link for cell in cells if cell.cell_type == "markdown" for link in LINK.findall(cell.source)]
    assert links
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


@pytest.mark.ray
@pytest.mark.slow
def test_the_notebooks_run_in_order_and_train_nothing_twice(tmp_path: Path):
    folder = working_folder(tmp_path)
    executed = [execute(path, folder) for path in NOTEBOOKS]
    assert "on demand" in "".join(texts(executed[-1].cells)), "!mien was not found"
    trained = {
        series.name: [one.name for one in series.iterdir() if (one / "experiment.json").is_file()]
        for series in (folder / "tutorial/runs").glob("affect-*")
    }
    names = {f"affect-{name}" for name in ("eeg", "body", "face", "late", "hybrid")}
    assert names <= trained.keys()
    assert {name: len(trained[name]) for name in names} == dict.fromkeys(names, 1), (
        "a declaration differs from the one before"
    )
