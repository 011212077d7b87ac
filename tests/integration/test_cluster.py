"""Ray is attached to only where it was named, and ended only where it was started."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest

from conftest import ROOT
from mien.connection import machine_cpus, search_path

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TOKEN = secrets.token_hex(32)
CONNECT = """
import json, os, sys
from mien.connection import ClusterError, connected
address, fail, wait = json.loads(sys.argv[1])
before = dict(os.environ)
try:
    with connected(address) as cluster:
        import ray
        with connected() as inner:  # shares the one in use, and leaves it running
            assert inner.address == cluster.address and inner.startup_s == 0
        pool = [cluster.pool(None), cluster.pool(7)]
        where = ray.get(ray.remote(lambda: __import__("mien").__file__).remote())
        print(json.dumps([cluster.address, cluster.embedded, cluster.n_cpus, pool, where]), flush=True)
        if wait:
            sys.stdin.readline()
        if fail:
            raise ClusterError("on purpose")
except ClusterError as error:
    print(json.dumps(str(error)))
import ray
assert not ray.is_initialized()
names = ("PYTHONPATH", "RAY_BACKEND_LOG_LEVEL", "RAY_USAGE_STATS_ENABLED")
assert [os.environ.get(name) for name in names] == [before.get(name) for name in names]
"""


def start(
    address: str | None = None, *, fail: bool = False, wait: bool = False, **environment: str
) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CONNECT, json.dumps([address, fail, wait])],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        | {"PYTHONPATH": search_path(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
        | environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(process: subprocess.Popen) -> list:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert not err, err
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def leftover() -> Iterator[str]:
    """The address of a Ray that runs on this machine, and that nobody asked for."""
    process = start(wait=True)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())[0]
    process.communicate("\n", timeout=120)
    assert process.returncode == 0  # it was still there, and ended in order


def test_a_ray_that_happens_to_run_is_left_alone(leftover):
    ((address, embedded, n_cpus, pool, where),) = lines_of(start())
    assert embedded and address != leftover
    assert n_cpus == machine_cpus()
    assert pool == [machine_cpus(), 7]
    assert where.endswith("platform/mien/__init__.py")


def test_a_named_one_is_attached_to_and_not_ended(leftover):
    for process in (start(leftover), start(RAY_ADDRESS=leftover)):
        ((address, embedded, *_),) = lines_of(process)
        assert address == leftover and not embedded


def test_an_exception_ends_what_was_started(leftover):
    answer, said = lines_of(start("local", fail=True, RAY_ADDRESS=leftover))
    assert answer[1] and answer[0] != leftover  # "local" beats RAY_ADDRESS
    assert said == "on purpose"


def test_a_wrong_token_is_refused(leftover):
    (said,) = lines_of(start(leftover, RAY_AUTH_TOKEN=secrets.token_hex(32)))
    assert said.startswith(f"Ray at '{leftover}': it has another token")


def test_an_address_where_nothing_answers_is_named():
    (said,) = lines_of(start("127.0.0.1:9"))
    assert said.startswith(
        "no Ray answers at '127.0.0.1:9': [Errno 111] Connection refused; is the head still running?"
    )
