"""Ray, started here or attached to: the one place that calls `ray.init`.

`connected` embeds a Ray of its own unless somebody named a cluster: by its argument, by RAY_ADDRESS, or by
starting this program as a Ray job (which sets RAY_ADDRESS). It never picks up a cluster that happens to be
running on the machine, and it ends only what it started. An embedded Ray listens on this machine alone. RAY_AUTH_MODE
and the token files are Ray's own business: they are neither set nor overridden here.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Thread
from typing import Any

from mien.errors import MienError

SAY_EVERY_S = 10.0  # between two lines on what is waited for
_SOURCE_ROOT = str(Path(__file__).parents[1])


class ClusterError(MienError):
    """A Ray cluster that cannot be reached, or that will not start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A Ray in use. n_cpus, n_gpus: what all of its nodes offer at present. startup_s: seconds until it
    answered, 0 where it was running already."""

    address: str
    embedded: bool
    n_cpus: int
    n_gpus: int
    startup_s: float

    def pool(self, workers: int | None) -> int:
        """Number of one-CPU workers to start: what was asked for, else one a CPU.

        An attached cluster may be asked for more than it has now: its autoscaler adds nodes.
        """
        return n_workers(workers, self.n_cpus)


def n_workers(asked: int | None, n_cpus: int) -> int:
    """What was asked for, else one for each CPU. Raises ClusterError for less than one."""
    if asked is not None and asked < 1:
        raise ClusterError(f"{asked} workers: give at least 1, or leave it out for one for each CPU")
    return asked or max(1, n_cpus)


@contextmanager
def connected(address: str | None = None, workers: int | None = None) -> Iterator[Cluster]:
    """A Ray to work with; on leaving, a Ray that was started here is ended, also after an exception.

    address: a cluster to attach to ("auto", "host:6379", "ray://..."); None attaches to RAY_ADDRESS where
    that is set, and otherwise starts an embedded Ray. "local" always starts one. workers: one-CPU workers
    that an embedded Ray must have room for (it offers at least the CPUs of the machine). Inside another
    `connected` the Ray in use is shared. Raises ClusterError when the cluster does not answer.
    """
    started_s = time.monotonic()
    import ray

    if ray.is_initialized():
        yield _describe(startup_s=0.0, embedded=False)
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    embedded = address == "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if embedded:
        options |= {"num_cpus": max(workers or 1, machine_cpus()), "include_dashboard": False}
    elif not _is_installed() and "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": search_path()}}  # a job brings its own
    if not embedded:
        _knock(address)
    with TemporaryFile() as said:
        try:
            with ExitStack() as around:
                around.enter_context(_quietly_embedded() if embedded else _quietly_attached(said.fileno()))
                if embedded or _is_embedded_elsewhere(address):
                    around.enter_context(_on_loopback())
                ray.init(address=address, **options)
        except Exception as error:  # plain ones among them: "The current node timed out during startup"
            ray.shutdown()
            said.seek(0)
            reason = _why_not_embedded(error) if embedded else _why_not_attached(error, said.read())
            raise ClusterError(f"Ray at {address!r}: {reason}") from error
    try:
        yield _describe(startup_s=time.monotonic() - started_s, embedded=embedded)
    finally:
        ray.shutdown()


def named() -> str:
    """Who named a Ray that is to be used, in words; empty where nobody did, and an embedded one would be started."""
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return "a Ray is in use"
    address = os.environ.get("RAY_ADDRESS", "")
    return f"RAY_ADDRESS is {address}" if address else ""


def machine_cpus() -> int:
    """CPUs that this process may use: its affinity where the system tells it, else all of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _describe(*, startup_s: float, embedded: bool) -> Cluster:
    import ray

    resources = ray.cluster_resources()
    return Cluster(
        address=ray.get_runtime_context().gcs_address,
        embedded=embedded,
        n_cpus=int(resources.get("CPU", 0)),
        n_gpus=int(resources.get("GPU", 0)),
        startup_s=startup_s,
    )


def _knock(address: str) -> None:
    """Raises ClusterError where nobody listens: `ray.init` would try for minutes."""
    if address.startswith(("http://", "https://")):
        raise ClusterError(
            f"{address!r} is the dashboard, which takes jobs: ray job submit ... -- python -m mien ..., or set "
            "RAY_ADDRESS to host:6379"
        )
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # "auto": Ray knows where
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        remedy = "is the head still running? ray up cluster.yaml starts it again"
        raise ClusterError(f"no Ray answers at {address!r}: {error}; {remedy}") from error


def _is_embedded_elsewhere(address: str) -> bool:
    """Whether another program embeds the Ray at this address: it answers on loopback only, where Ray does not look."""
    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost"):
        return False
    import ray

    try:
        socket.create_connection((ray.util.get_node_ip_address(), int(port)), timeout=10).close()
    except OSError:
        return True
    return False


def _why_not_embedded(error: Exception) -> str:
    return f"{_first_line(error)}; is the machine overloaded or its disk full?"


def _why_not_attached(error: Exception, said: bytes) -> str:
    """What keeps this process out of a cluster that answers, and what to do. said: what Ray wrote to stderr meanwhile,
    for its error is the same for every refusal."""
    if versions := re.findall(r"(Ray|Python): (\S+)", str(error)) if "Version mismatch" in str(error) else []:
        (_, ray_there), (_, python_there), (_, ray_here), (_, python_here) = versions
        there, here = f"Ray {ray_there} on Python {python_there}", f"Ray {ray_here} on Python {python_here}"
        return f"it is {there}, here is {here}: install its versions here, or submit a job, which runs with its own"
    if type(error).__name__ == "AuthenticationError":
        return f"{str(error).split('. ')[0]}; copy ~/.ray/auth_token from where the cluster was started"
    if b"InvalidAuthToken" not in said:
        return f"{_first_line(error)}; check the address and RAY_AUTH_MODE"
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    if is_token_auth_enabled():
        return "it has another token: copy ~/.ray/auth_token from where the cluster was started, to every node alike"
    return "it demands a token: set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from where it was started"


@contextmanager
def _overheard(file: int) -> Iterator[None]:
    """What this process writes to stderr goes to a file; Ray repeats each refusal every second."""
    stderr = os.dup(2)
    os.dup2(file, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


@contextmanager
def _quietly_embedded() -> Iterator[None]:
    """What the processes of an embedded Ray inherit while it starts; ours is put back afterwards.

    They import what this process can, and report nothing to anybody outside.
    """
    is_quiet = "RAY_BACKEND_LOG_LEVEL" not in os.environ
    inherited = {
        "PYTHONPATH": search_path(),
        "RAY_USAGE_STATS_ENABLED": os.environ.get("RAY_USAGE_STATS_ENABLED", "0"),
        **_log_level(),
    }
    with (
        environment(**inherited),
        Path(os.devnull).open("w") as nowhere,
        _overheard(nowhere.fileno()) if is_quiet else nullcontext(),
    ):
        yield


@contextmanager
def _quietly_attached(file: int) -> Iterator[None]:
    """While this process attaches, its Ray takes over how much it logs, and what it writes to stderr goes to a file."""
    with environment(**_log_level()), _overheard(file):
        yield


def _log_level() -> dict[str, str]:
    """Ray 2.60 warns on stderr of each actor pool whose actors may restart (core_worker.cc, ray#53727), and of the very
    setting that silences it: to look for a fault, set RAY_BACKEND_LOG_LEVEL=info."""
    return {"RAY_BACKEND_LOG_LEVEL": os.environ.get("RAY_BACKEND_LOG_LEVEL", "fatal")}


@contextmanager
def _on_loopback() -> Iterator[None]:
    """A Ray that is started meanwhile binds all its sockets to 127.0.0.1, as it does by itself on macOS and Windows;
    one that is attached to meanwhile is looked for there.

    Ray 2.60 makes the address of the network of `_node_ip_address="127.0.0.1"` (services.resolve_ip_for_localhost),
    and reads the variable that decides this, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER, once: when it is imported.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def waiting(say: Callable[[str], None], what_for: Callable[[], str]) -> Iterator[Event]:
    """Says what is waited for every ten seconds, until the event is set or the block is left."""
    came = Event()

    def tell() -> None:
        while not came.wait(SAY_EVERY_S):
            say(what_for())

    thread = Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield came
    finally:
        came.set()
        thread.join()


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables for as long as the block runs; what stood there before is put back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                del os.environ[name]
            else:
                os.environ[name] = old


def _is_installed() -> bool:
    try:
        distribution("mien")
    except PackageNotFoundError:
        return False
    return True


def search_path() -> str:
    """PYTHONPATH for a process that must import what this one can: mien itself, and extractors of your
    own."""
    return os.pathsep.join(dict.fromkeys([_SOURCE_ROOT, *filter(None, sys.path)]))


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
