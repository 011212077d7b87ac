"""mien store verify: whether the features that a store holds are what was written. Heavy imports stand inside."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from mien.cli.terminal import OUT, print_json
from mien.errors import MienError


def store_verify(
    store: Annotated[str, Positional, arg(metavar="STORE")] = "store",
    mend: bool = False,
    all: bool = False,
    json: bool = False,
) -> None:
    """Read every file of a store and compare it with what was written. Exit code 2 where something is damaged.

    Args:
        store: The feature store: a folder or s3://bucket/prefix.
        mend: Take out what is damaged, so that the same `mien prepare` extracts that again, and nothing else.
        all: Print every finding, not the first three of each kind.
        json: Print the findings as JSON.
    """
    from dataclasses import asdict

    from mien.cli.summaries import findings
    from mien.features.store import FeatureStore

    opened = FeatureStore(store)
    corpora = opened.corpora()
    if not corpora:
        raise MienError(f"{opened.folder}: no store; give what was given to --store")
    found = {corpus: opened.verify(corpus) for corpus in corpora}
    gone = {corpus: opened.mend(corpus) for corpus in corpora} if mend else {}
    n_errors = sum(finding.severity == "error" for some in found.values() for finding in some)
    if json:
        print_json(
            {
                "intact": not n_errors,
                "findings": {corpus: [asdict(finding) for finding in some] for corpus, some in found.items()},
                "taken_out": gone,
            }
        )
    else:
        verdict = f"{opened.folder}: " + (f"NOT intact, {n_errors} errors" if n_errors else "intact")
        OUT.print(verdict, soft_wrap=True, markup=False)
        for corpus, some in found.items():
            OUT.print(f"{corpus}: {len(opened.feature_folders(corpus))} features, {len(some)} findings", markup=False)
            findings(some, every=all)
        for path in (path for paths in gone.values() for path in paths):
            OUT.print(f"taken out: {path}", soft_wrap=True, markup=False)
        if any(gone.values()):
            OUT.print("Now the same `mien prepare` for " + ", ".join(corpus for corpus in gone if gone[corpus]))
        elif n_errors:
            OUT.print(f"`mien store verify {store} --mend` takes out what is damaged", soft_wrap=True, markup=False)
    if n_errors and not mend:
        raise SystemExit(2)
