"""pyproject.toml declares what the code imports, and nothing else; the lock holds it with hashes and no address."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement

from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Declared for what they bring or pin, and not imported by name.
FOR_OTHERS = {
    "onnxscript": "torch exports by it",
    "websockets": "uvicorn speaks by it",
    "torchvision": "facenet-pytorch imports it; its version must fit torch's",
    "keras": "pinned with tensorflow",
    "safetensors": "transformers reads weights with it, and is told to read nothing else",
}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    return {normalised(Requirement(line).name) for line in [*PROJECT["dependencies"], *extras]}


def imported() -> set[str]:
    """Distributions of what platform/ and experiments/ import, at any depth."""
    names: set[str] = set()
    for folder in ("platform", "experiments"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module.partition(".")[0])
    own = {"mien", *(path.stem for path in (ROOT / "experiments").glob("*.py"))}
    known = packages_distributions()
    return {normalised(known.get(name, [name])[0]) for name in names - own - set(sys.stdlib_module_names)}


@pytest.mark.slow
def test_what_is_imported_is_declared():
    used = {{"mlflow": "mlflow-skinny"}.get(name, name) for name in imported()}
    assert used - declared() == set()


@pytest.mark.slow
def test_what_is_declared_is_imported():
    used = {{"mlflow": "mlflow-skinny"}.get(name, name) for name in imported()}
    assert declared() - used - FOR_OTHERS.keys() == set()


def test_the_lock_has_a_hash_for_each_version_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if entry.strip()]
    assert len(entries) > 100
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
