"""mien cluster setup and leftovers: what an AWS account needs, and what is left in it. Imports inside: help must load
nothing heavy."""

from __future__ import annotations

import json as json_
import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

HERE = Path("cluster.yaml")
SOMETHING_LEFT = 2  # as an exit code


def cluster_setup(file: Annotated[Path, Positional] = HERE, dry_run: bool = False) -> None:
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


def cluster_leftovers(file: Annotated[Path, Positional] = HERE, json: bool = False) -> None:
    """What still costs money of this cluster: nodes that are not terminated, disks without a node. Exits 2 where
    there are some.

    Args:
        file: The cluster.yaml it was started from.
        json: Print it as JSON, with the command that ends each.
    """
    from dataclasses import asdict

    from mien.cli.terminal import table
    from mien.cluster.aws.account import Account
    from mien.cluster.aws.declaration import Declaration
    from mien.cluster.aws.leftovers import leftovers

    account = Account(Declaration.read(file), tell=lambda line: print(line, file=sys.stderr))
    cluster, region = account.cluster.cluster, account.cluster.region
    found = leftovers(account)
    if json:
        print(json_.dumps([{**asdict(left), "command": left.command(region)} for left in found], indent=2))
    elif not found:
        print(f"nothing of cluster {cluster} runs in {region}")
    else:
        table(["id", "what", "state", "since, UTC"], [[left.id, left.kind, left.state, left.since] for left in found])
        print(f"ray down {file} ends the nodes; what it leaves:")
        for left in found:
            print(f"  {left.command(region)}")
    if found:
        raise SystemExit(SOMETHING_LEFT)
