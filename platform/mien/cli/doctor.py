"""mien doctor: is this machine fit to work, and what is to be mended. Heavy imports stand inside."""

from __future__ import annotations

from mien.cli.terminal import OUT, print_json, table


def doctor(imports: bool = False, ray: bool = False, json: bool = False) -> None:
    """Is this machine fit to work? Versions, cores, disk, codecs, weights, camera, each with its remedy; exits 2 where
    something is missing that everything needs.

    For the nodes of a cluster: mien cluster doctor.

    Args:
        imports: Load each framework too, in a process of its own: half a minute.
        ray: Start a Ray too, and end it: ten seconds.
        json: Print the checks as JSON.
    """
    from dataclasses import asdict

    from rich.markup import escape

    from mien.cluster.machine import examine, is_fit

    checks = examine(imports=imports, ray=ray)
    fit = is_fit(checks)
    if json:
        print_json({"fit": fit, "checks": [asdict(check) for check in checks]})
    else:
        table(["", "", "found"], [[check.name, check.status, escape(check.found)] for check in checks])
        for check in checks:
            if check.remedy:
                OUT.print(f"{check.status}: {check.name}: {check.remedy}", soft_wrap=True, markup=False)
        OUT.print("fit to work" if fit else "NOT fit to work: see what is missing above")
    if not fit:
        raise SystemExit(2)
