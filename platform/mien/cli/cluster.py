"""mien cluster: what an AWS account needs, whether nodes are fit, and what is left. Heavy imports stand inside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from mien.cli.terminal import OUT, print_json, table
from mien.errors import above_0

HERE = Path("cluster.yaml")
SOMETHING_LEFT = 2  # exit code: something is left to mend or to end


def cluster_setup(file: Annotated[Path, Positional, arg(metavar="FILE")] = HERE, dry_run: bool = False) -> None:
    """Make in your AWS account what cluster.yaml needs and is not there yet: bucket, roles, security group, token.

    Args:
        file: The cluster.yaml, filled in.
        dry_run: Only say what would be made.
    """
    from mien.cluster.aws.account import Account
    from mien.cluster.aws.declaration import Declaration

    account = Account(Declaration.read(file), dry_run=dry_run)
    account.set_up()
    if dry_run:
        print(f"{account.n_made} things to make; nothing was made")
    elif account.n_made:
        print(
            f"made {account.n_made} things; AWS takes half a minute to know new roles everywhere, then: ray up {file}"
        )
    else:
        print(f"nothing was missing; next: ray up {file}")


def cluster_leftovers(file: Annotated[Path, Positional, arg(metavar="FILE")] = HERE, json: bool = False) -> None:
    """What still costs money of this cluster: nodes that are not terminated, disks without a node. Exits 2 where
    there are some.

    Args:
        file: The cluster.yaml it was started from.
        json: Print it as JSON, with the command that ends each.
    """
    from dataclasses import asdict

    from mien.cluster.aws.account import Account
    from mien.cluster.aws.declaration import Declaration
    from mien.cluster.aws.leftovers import leftovers

    account = Account(Declaration.read(file), tell=lambda line: print(line, file=sys.stderr))
    cluster, region = account.cluster.cluster, account.cluster.region
    found = leftovers(account)
    if json:
        print_json([{**asdict(left), "command": left.command(region)} for left in found])
    elif not found:
        print(f"nothing of cluster {cluster} runs in {region}")
    else:
        table(["id", "what", "state", "since, UTC"], [[left.id, left.kind, left.state, left.since] for left in found])
        print(f"ray down {file} ends the nodes; what it leaves:")
        for left in found:
            print(f"  {left.command(region)}")
    if found:
        raise SystemExit(SOMETHING_LEFT)


def cluster_doctor(
    address: str | None = None,
    storage: str | None = None,
    bring_up: tuple[Literal["cpu", "gpu"], ...] = (),
    start_minutes: float = 15.0,
    timeout_s: float = 120.0,
    json: bool = False,
) -> None:
    """Is every node of the cluster fit to work? Says what to mend; exits 2 where there is something.

    Looks at the cluster of RAY_ADDRESS, or at this machine where none is named. On a cluster run it as a job.

    Args:
        address: Another cluster: host:6379.
        storage: s3://bucket/prefix (or a shared folder) that each node tries to write to and to read.
        bring_up: Have the autoscaler start a node with a CPU, or with a GPU, and look at it too.
        start_minutes: For those to come.
        timeout_s: Seconds for a node to answer.
        json: Print the findings as JSON.
    """
    from dataclasses import asdict

    from rich.markup import escape

    from mien.cluster.doctor import examine, verdicts

    above_0("timeout_s", timeout_s)
    above_0("start_minutes", start_minutes)
    findings = examine(address, storage, timeout_s, bring_up=bring_up, start_s=60 * start_minutes)
    n_wrong = sum(bool(finding.remedy) for finding in findings)
    if json:
        print_json({"fit": not n_wrong, "findings": [asdict(finding) for finding in findings]})
    else:
        table(["", "node", "found", "verdict"], [[escape(cell) for cell in row] for row in verdicts(findings)])
        n_nodes = len({finding.node for finding in findings})
        verdict = "fit to work" if not n_wrong else f"{n_wrong} {'thing' if n_wrong == 1 else 'things'} to mend"
        OUT.print(f"{n_nodes} {'node' if n_nodes == 1 else 'nodes'}: {verdict}")
    if n_wrong:
        raise SystemExit(SOMETHING_LEFT)
