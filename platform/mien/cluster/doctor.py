"""Is a cluster fit to work, and what has to be mended: `mien cluster doctor`.

Each node that lives says what it is (`mien.cluster.probe`); what it says is held against the machine that asks, against
requirements.lock, and against what Ray believes of the node. Without a cluster it looks at this machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mien import connection as cluster
from mien.cluster import probe

LARGEST_SKEW_S = 5.0  # AWS refuses what is signed 15 minutes off, and tokens and logs go by the clock long before
LEAST_DISK, LEAST_DISK_SHARE = 5e9, 0.05  # Ray refuses to spill to a disk that is 95 % full
LEAST_MEMORY, LEAST_MEMORY_SHARE = 1e9, 0.05  # Ray ends workers at 95 %
# What a run or an extractor depends on. The rest of requirements.lock is looked at, too, where it is installed.
NEEDED = (
    *("ray", "pyarrow", "boto3", "torch", "torchvision", "tensorflow", "keras", "av", "soundfile", "soxr", "opensmile"),
    *("facenet-pytorch", "mne", "numpy", "pandas", "scipy", "scikit-learn", "psutil", "optuna", "tyro", "pydantic"),
)
CLOCK = "let chrony set the clock; on EC2 from 169.254.169.123 (chronyc tracking)"
N_LISTED, N_SHOWN = 6, 3  # packages in a line; nodes, and values, in a row of the table
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NodeFinding:
    """What was found of one node in one respect. remedy: what to do; empty where all is well."""

    node: str
    check: str
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node as Ray knows it. resources: what it offers; facts: what it says itself, None where it does not answer.
    skew_s: its clock less that of the machine that asks."""

    name: str
    is_head: bool
    resources: Mapping[str, float]
    facts: Facts | None
    skew_s: float = 0.0
    error: str = ""


def examine(
    address: str | None = None,
    storage: str | None = None,
    timeout_s: float = 120.0,
    *,
    bring_up: Sequence[str] = (),
    start_s: float = 900.0,
) -> list[NodeFinding]:
    """All findings, those of one check together. Raises ClusterError where the cluster does not answer at all.

    storage: a place that each node writes to. timeout_s: for a node to start a worker and to answer; torch alone may
    take half a minute to be imported. bring_up: "cpu", "gpu": have the autoscaler start a node that has one, within
    start_s, and look at it too.
    """
    with cluster.connected(address) as ray_cluster:
        here = probe.Probe().look(None)
        with _brought_up(bring_up, start_s) as missing:
            nodes = _ask(storage, timeout_s)
    lock = read_lock()
    findings = [finding for node in nodes for finding in _examined(node, here, lock, ray_cluster.embedded)]
    remedy = "`ray status -v` says what was refused; does a type of cluster.yaml offer it, with max_workers above 0?"
    findings += [
        NodeFinding("cluster", name, f"no node with one came within {start_s:g} s", remedy) for name in missing
    ]
    order = {check: number for number, check in enumerate(dict.fromkeys(finding.check for finding in findings))}
    return sorted(findings, key=lambda finding: order[finding.check])


@contextmanager
def _brought_up(names: Sequence[str], start_s: float) -> Iterator[list[str]]:
    """Holds a CPU, or a GPU, of a node each; yields the names of those that did not come."""
    import ray

    amounts: dict[str, dict[str, Any]] = {"cpu": {"num_cpus": 1}, "gpu": {"num_cpus": 1, "num_gpus": 1}}
    held: list[Any] = [ray.remote(probe.Probe).options(**amounts[name]).remote() for name in names]
    answers = [actor.time_s.remote() for actor in held]
    came: list[Any] = ray.wait(answers, num_returns=len(answers), timeout=start_s)[0] if answers else []
    try:
        yield [name for name, answer in zip(names, answers) if answer not in came]
    finally:
        for actor in held:
            ray.kill(actor)


def _ask(storage: str | None, timeout_s: float) -> list[Node]:
    """Every node that lives, with its answer; all are asked at a time."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = [node for node in ray.nodes() if node["Alive"]]
    here = NodeAffinitySchedulingStrategy
    actors: list[Any] = [
        ray.remote(probe.Probe).options(num_cpus=0, scheduling_strategy=here(node["NodeID"], soft=False)).remote()
        for node in alive
    ]
    looks = [actor.look.remote(storage) for actor in actors]
    ray.wait(looks, num_returns=len(looks), timeout=timeout_s)
    found = []
    for node, actor, look in zip(alive, actors, looks):
        resources = node["Resources"]
        is_head = "node:__internal_head__" in resources
        name = node["NodeManagerAddress"] + (" (head)" if is_head else f" ({node['NodeID'][:6]})")
        facts, skew_s, error = None, 0.0, ""
        try:
            facts = ray.get(look, timeout=0.1)
            before_s = time.time()
            there_s: Any = ray.get(actor.time_s.remote(), timeout=10)
            skew_s = -probe.outside(there_s, before_s, time.time())
        except ray.exceptions.GetTimeoutError:
            error = f"no answer within {timeout_s:g} s"
        except ray.exceptions.RayError as raised:
            error = str(raised).strip().splitlines()[-1]
        found.append(Node(name, is_head, resources, facts, skew_s, error))
        ray.kill(actor)
    return sorted(found, key=lambda node: (not node.is_head, node.name))


def _examined(node: Node, here: Facts, lock: Mapping[str, str], embedded: bool) -> Iterator[NodeFinding]:
    if node.facts is None:
        is_bare = "ModuleNotFoundError" in node.error
        remedy = "run this as a job of the working directory" if is_bare else "ray status; if it stays so, end the node"
        yield NodeFinding(node.name, "answer", node.error, remedy)
        return
    case = Case(node, node.facts, here, lock, embedded)
    for check in CHECKS:
        for found, remedy in check(case):
            yield NodeFinding(node.name, check.__name__[1:], found, remedy)


class Case(NamedTuple):
    """A node that answered, and what its answer is held against. embedded: a Ray that was started for this alone."""

    node: Node
    facts: Facts
    here: Facts
    lock: Mapping[str, str]
    embedded: bool


Said = Iterator[tuple[str, str]]  # what was found, and the remedy or nothing


def _python(case: Case) -> Said:
    here = case.here["python"]
    remedy = f"here it is {here}: objects do not travel between the two; set up the node again (ray up)"
    yield case.facts["python"], "" if case.facts["python"] == here else remedy


def _mien(case: Case) -> Said:
    here = case.here["mien"]
    remedy = f"here it is {here}: give the job this working directory (--working-dir), or sync it (ray up)"
    yield case.facts["mien"], "" if case.facts["mien"] == here else remedy


def _packages(case: Case) -> Said:
    """Those that matter, against the machine that asks."""
    here, there = case.here["packages"], case.facts["packages"]
    wanted = [name for name in NEEDED if name in here]
    wrong = [
        f"{name} {there.get(name, 'missing')} (here {here[name]})"
        for name in wanted
        if _release(there.get(name)) != _release(here[name])
    ]
    yield _listed(wrong) or f"{len(wanted)} as here", "install requirements.lock on both (ray up)" if wrong else ""


def _locked(case: Case) -> Said:
    """What is installed, against requirements.lock."""
    there, lock = case.facts["packages"], case.lock
    wrong = [f"{name} missing ({lock[name]})" for name in NEEDED if name in lock and name not in there]
    wrong += [
        f"{name} {there[name]} ({lock[name]})" for name in lock if name in there and _release(there[name]) != lock[name]
    ]
    if lock:
        yield (
            _listed(wrong) or "all as locked",
            "pip install -r requirements.lock on the node (ray up)" if wrong else "",
        )


def _auth(case: Case) -> Said:
    is_open = case.facts["auth"] != "token" and not case.embedded
    remedy = "whoever reaches the port runs code: set RAY_AUTH_MODE=token on every node and here, and start Ray again"
    yield case.facts["auth"], remedy if is_open else ""


def _clock(case: Case) -> Said:
    if case.node.error:
        yield case.node.error, "it answered all else and then no more: ask again; ray status"
    else:
        yield f"{case.node.skew_s:+.1f} s", CLOCK if abs(case.node.skew_s) > LARGEST_SKEW_S else ""


def _disk(case: Case) -> Said:
    free, total = case.facts["disk"]["free"], case.facts["disk"]["total"]
    is_full = free < LEAST_DISK or free < LEAST_DISK_SHARE * total
    remedy = "Ray cannot spill: make room in /tmp/ray, or give the type a larger VolumeSize in cluster.yaml"
    yield f"{_gb(free)} of {_gb(total)} free", remedy if is_full else ""


def _shm(case: Case) -> Said:
    shm, store = case.facts["shm_bytes"], case.node.resources.get("object_store_memory", 0)
    remedy = "the object store goes to the disk: enlarge /dev/shm, or ray start --object-store-memory"
    if shm is not None:
        yield f"{_gb(shm)} for {_gb(store)} of objects", remedy if shm < store else ""


def _memory(case: Case) -> Said:
    free, total = case.facts["memory"]["free"], case.facts["memory"]["total"]
    is_full = free < LEAST_MEMORY or free < LEAST_MEMORY_SHARE * total
    remedy = "Ray ends workers at 95 %: see what else runs there, use fewer workers, or take a larger type"
    yield f"{_gb(free)} of {_gb(total)} free", remedy if is_full else ""


def _gpu(case: Case) -> Said:
    """What Ray offers, nvidia-smi lists and torch can use must be one number."""
    offered, seen = int(case.node.resources.get("GPU", 0)), case.facts["gpus"]
    listed = seen["names"] or []
    kinds = ", ".join(f"{listed.count(name)} {name}" for name in dict.fromkeys(listed)) or "none"
    if seen["error"]:
        yield kinds, f"{seen['error']}: take an image with NVIDIA's driver (cluster.yaml), or end the node"
    elif offered != len(listed):
        yield f"{kinds}; Ray offers {offered}", "ray start --num-gpus, or `resources` of the type in cluster.yaml"
    elif listed and seen["torch"] != len(listed):
        yield f"{kinds}; torch can use {seen['torch']}", "install the torch of requirements.lock, or a newer driver"
    else:
        yield kinds, ""


def _storage(case: Case) -> Said:
    answer = case.facts["storage"]
    if answer is None:
        return
    skew_s = answer["skew_s"] or 0.0
    if answer["error"]:
        yield "refused", answer["error"]
    else:
        yield (
            "written, read, removed",
            f"{skew_s:+.0f} s off S3's clock: {CLOCK}" if abs(skew_s) > LARGEST_SKEW_S else "",
        )


CHECKS = (_python, _mien, _packages, _locked, _auth, _clock, _disk, _shm, _memory, _gpu, _storage)


def read_lock() -> dict[str, str]:
    """Name to version in requirements.lock of the working directory, for this Python; empty where there is none."""
    from packaging.requirements import Requirement

    file = Path("requirements.lock")
    if not file.exists():
        return {}
    lines = (line.split("#")[0].rstrip("\\ ").strip() for line in file.read_text().splitlines())
    asked = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {
        one.name.lower().replace("_", "-"): next(iter(one.specifier)).version
        for one in asked
        if len(one.specifier) == 1 and (one.marker is None or one.marker.evaluate())
    }


def _release(version: str | None) -> str | None:
    """Without the local part: torch 2.15.0+cu128 is torch 2.15.0."""
    return version and version.split("+")[0]


def _listed(wrong: Sequence[str]) -> str:
    return ", ".join(wrong[:N_LISTED]) + (f" and {len(wrong) - N_LISTED} more" if len(wrong) > N_LISTED else "")


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def verdicts(findings: Sequence[NodeFinding]) -> Iterator[tuple[str, str, str, str]]:
    """Rows of a table: one for all nodes that are well in a respect, one for each kind of trouble."""
    for check in dict.fromkeys(finding.check for finding in findings):
        of_check = [finding for finding in findings if finding.check == check]
        for remedy in sorted({finding.remedy for finding in of_check}):
            alike = [finding for finding in of_check if finding.remedy == remedy]
            yield (
                check,
                _short([finding.node for finding in alike], "nodes"),
                _short([finding.found for finding in alike], "values"),
                f"mend: {remedy}" if remedy else "ok",
            )


def _short(texts: Sequence[str], what: str) -> str:
    different = list(dict.fromkeys(texts))
    if len(different) <= N_SHOWN:
        return ", ".join(different)
    return f"{different[0]} ... {different[-1]} ({len(different)} {what})"
