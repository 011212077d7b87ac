"""What keeps two frameworks out of one process, and workers that are not connected out of a group."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import get_args

import pytest

from conftest import ROOT
from mien.errors import MienError
from mien.families import frameworks
from mien.families.contract import Framework


def printed(code: str) -> list[str]:
    """The lines that a Python process of its own prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def test_every_framework_has_a_module():
    assert frameworks.MODULES.keys() == set(get_args(Framework))


def test_the_guard_names_both_frameworks(monkeypatch):
    for name, other in (("torch", "tensorflow"), ("tensorflow", "torch")):
        monkeypatch.delitem(sys.modules, other, raising=False)
        frameworks.check_alone(name)
        monkeypatch.setitem(sys.modules, other, sys)
        with pytest.raises(MienError, match=f"{name} cannot be used in a process that has imported {other}"):
            frameworks.check_alone(name)
        monkeypatch.delitem(sys.modules, other)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("torch", "tensorflow"), ("tensorflow", "torch")])
def test_the_second_framework_is_refused_before_it_is_imported(first, second):
    lines = printed(f"""
        import sys
        from mien.errors import MienError
        from mien.families import frameworks

        print(frameworks.group("{first}", 0, 1))
        try:
            frameworks.group("{second}", 0, 1)
        except MienError as error:
            print(error)
        print("{second}" in sys.modules, "keras" in sys.modules)
        """)
    assert lines[0].startswith("Group(rank=0, world=1")
    assert lines[1].startswith(f"{second} cannot be used in a process that has imported {first}")
    assert lines[2] == f"False {first == 'tensorflow'}"


def test_scikit_learn_fits_in_one_process():
    assert frameworks.group("sklearn", 0, 1).world == 1
    with pytest.raises(MienError, match="scikit-learn fits in one process and not in 2: set execution.workers to 0"):
        frameworks.group("sklearn", 0, 2)


@pytest.mark.torch
def test_torch_refuses_a_group_that_is_not_connected():
    with pytest.raises(MienError, match="rank 1 of 2 workers: torch.distributed describes 0 of 1"):
        frameworks.group("torch", 1, 2)


@pytest.mark.tensorflow
def test_tensorflow_refuses_a_group_that_is_not_connected(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1", "c:1"]}, "task": {"index": 1}}')
    with pytest.raises(MienError, match="rank 1 of 2 workers: TF_CONFIG describes 1 of 3"):
        frameworks.group("tensorflow", 1, 2)


@pytest.mark.torch
def test_torch_computes_with_one_thread_and_deterministic_algorithms():
    group = frameworks.group("torch", 0, 1)
    import torch

    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert group.device == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.torch
def test_what_is_drawn_inside_a_seed_depends_on_it_alone():
    import torch

    from mien.families.frameworks.torch import seeded

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with seeded("dropout", 3, 1, 0):
        one = torch.rand(3)
    assert torch.equal(torch.rand(3), expected), "what is drawn outside goes on"
    with seeded("dropout", 3, 1, 0):
        assert torch.equal(torch.rand(3), one)
    with seeded("dropout", 3, 2, 0):
        assert not torch.equal(torch.rand(3), one)


@pytest.mark.tensorflow
def test_tensorflow_is_imported_without_a_word_and_without_what_it_does_not_need():
    asked = (
        "import sys; from mien.families.frameworks import tensorflow; "
        "print([name for name in ('matplotlib', 'pandas', 'scipy', 'sklearn', 'torch') if name in sys.modules]); "
        "import scipy.stats, pandas; print(pandas.DataFrame({'x': [1.0]}).x.sum())"
    )
    ended = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert ended.stdout.split("\n")[:2] == ["[]", "1.0"]
    assert ended.stderr == ""
