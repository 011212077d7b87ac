"""mien corpora, sample, verify: what can be read, something to try it on, and whether a download is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from mien.cli.terminal import bar, print_json, table
from mien.errors import MienError


def corpora(json: bool = False) -> None:
    """What is supported, with licence, access and expected counts.

    Args:
        json: Print it as JSON.
    """
    from dataclasses import asdict

    from mien.corpora import cards

    if json:
        print_json([asdict(card) for card in cards()])
        return
    table(
        ["corpus", "clips", "subjects", "labels", "licence", "access"],
        [
            [c.name, _known(c.n_clips), _known(c.n_subjects), ", ".join(c.label_sources), c.licence, c.access]
            for c in cards()
        ],
    )


def _known(n: int | None) -> int | str:
    return "not stated" if n is None else n


def sample(
    directory: Annotated[Path, Positional, arg(metavar="DIRECTORY")],
    corpora: tuple[str, ...] = ("ravdess", "cremad"),
    subjects: int = 4,
    per_emotion: int = 3,
    seed: int = 0,
) -> None:
    """Write tiny synthetic corpora in the true on-disk layouts, to try everything without a download.

    Each comes with a table of ratings of valence and arousal, for `mien prepare ... --attach ratings=TABLE`.

    Args:
        directory: Where; a folder per corpus is made in it.
        corpora: Which.
        subjects: People in each.
        per_emotion: Clips of each person and emotion, as far as the corpus has room for them.
        seed: Another seed makes other people and other clips.
    """
    from mien.corpora.sample.write import write_sample

    with bar("synthetic clips") as advance:
        roots = write_sample(directory, corpora, subjects, per_emotion, seed, on_clip=advance)
    for name, root in roots.items():
        print(f"{name}: {root}")


def verify(
    corpus: Annotated[str, Positional, arg(metavar="CORPUS")],
    root: Annotated[str, Positional, arg(metavar="ROOT")],
    all: bool = False,
    json: bool = False,
) -> None:
    """Is this download complete and intact? Exits 2 where it is not.

    Args:
        corpus: ravdess, cremad or ami.
        root: Folder of the download.
        all: Print every finding, not the first three of each kind.
        json: Print the findings as JSON.
    """
    from mien.cli.summaries import verification
    from mien.corpora import load

    module = load(corpus)
    if "://" in root:
        raise MienError(
            f"{root}: verify reads folders of this machine; copy it here first, for example with aws s3 sync"
        )
    with bar("files read", enabled=not json) as advance:
        found = module.verify(Path(root), on_file=advance)
    if json:
        from dataclasses import asdict

        print_json({**asdict(found), "intact": found.intact})
    else:
        verification(found, every=all)
    if not found.intact:
        raise SystemExit(2)
