"""The house rules that a reader cannot see: what is imported when, and what must not be there."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from conftest import ROOT
from mien.cli.main import commands_for

HEAVY = ("ray", "torch", "tensorflow", "keras", "sklearn", "matplotlib", "pandas", "opensmile", "av")
SCRIPTS = sorted(path.name for path in (ROOT / "experiments").glob("*.py"))


def modules_after(code: str) -> set[str]:
    """Top-level packages loaded by a piece of code in a process of its own."""
    code += "\nimport sys; print('\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return set(done.stdout.splitlines())


def test_platform_is_still_the_standard_library():
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert Path(platform.__file__).parent == Path(os.__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_importing_an_experiment_loads_nothing_heavy(script):
    path = ROOT / "experiments" / script
    code = f"import runpy, sys; sys.path.insert(0, {str(path.parent)!r}); runpy.run_path({str(path)!r}, run_name='imported')"
    loaded = modules_after(code)
    assert "runpy" in loaded
    assert not loaded & set(HEAVY)


WORDS = [
    [],
    *([*command.split(), "--help"] for command in commands_for([])),
    *([command, str(ROOT / "experiments" / "sync_aug.py"), "--help"] for command in ("train", "search")),
]


@pytest.mark.slow
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_help_loads_nothing_heavy(words):
    """Of mien, of each command, and of the fields of an experiment: it must come at once."""
    code = f"""
        import contextlib, io, sys
        sys.argv = ["mien", *{words!r}]
        from mien.__main__ import main
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main()
        assert "usage: mien" in said.getvalue(), said.getvalue()
        """
    loaded = modules_after(textwrap.dedent(code))
    assert "tyro" in loaded
    assert not loaded & set(HEAVY)


def test_a_job_ships_all_of_the_code():
    """What is left out by name, and not by place, is left out below platform/ too."""
    import yaml

    excludes = yaml.safe_load((ROOT / "experiments" / "runtime_env.yaml").read_text())["excludes"]
    code = {path.name for path in (ROOT / "platform").rglob("*") if path.is_dir()}
    assert "store" in code
    assert not code & set(excludes)


@pytest.mark.slow
def test_torch_and_tensorflow_never_stand_in_one_file():
    both = [
        path
        for folder in ("platform", "experiments", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if {"torch", "tensorflow"} <= imported(path)
    ]
    assert not both


def test_no_two_test_files_share_a_name():
    """pytest imports them by it, and ends where the second is another file."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def imported(path: Path) -> set[str]:
    """Top-level packages named in the import statements of a file, at any depth."""
    import ast

    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
