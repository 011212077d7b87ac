"""mien corpora, sample, fetch, verify: what can be read, a sample of it, a download, and whether that is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from mien.cli.terminal import ERR, bar, print_json, table
from mien.errors import MienError

SHOWN_FAILURES = 10


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
        [[c.name, c.n_clips, c.n_subjects, ", ".join(c.label_sources), c.licence, c.access] for c in cards()],
    )


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


def fetch(
    corpus: Annotated[str, Positional, arg(metavar="CORPUS")],
    root: Annotated[str, Positional, arg(metavar="ROOT")],
    urls: Path | None = None,
    source: str = "",
    only: tuple[str, ...] = (),
    unpack: bool = True,
    keep_archives: bool = False,
    read: bool = False,
    at_once: int = 4,
    json: bool = False,
) -> None:
    """Download a corpus into a folder. Broken off or asked again, it loads what is missing. Exits 2 where a file
    cannot be had.

    Without --urls and --source, the files are those that the corpus publishes, if it publishes a list: ravdess, cremad.

    Args:
        corpus: A name that `mien corpora` lists.
        root: The folder; it is the root that `mien verify` and `mien prepare` take.
        urls: A file with a URL in each line; after commas, if known, its SHA-256 or MD5, size in bytes, and path.
        source: Load from s3://bucket/prefix.
        only: Files whose path matches one of these patterns, such as "Audio_*" or "VideoFlash/1001_*".
        unpack: Unpack zip archives, each into a folder of its name.
        keep_archives: Keep them beside what came out of them.
        read: Compare what is here by hash; otherwise by size and time.
        at_once: Files at a time.
        json: Print what was done as JSON.
    """
    from mien.cli.progress import loading
    from mien.corpora import load
    from mien.corpora.fetch import chosen, of_bucket, of_corpus, of_list
    from mien.corpora.fetch import fetch as fetch_sources

    load(corpus)
    if urls and source:
        raise MienError("urls and source: give one of them")
    unfit: dict[str, str] = {}
    if urls:
        listed = of_list(urls)
    elif source:
        listed, unfit = of_bucket(source)
    else:
        listed = of_corpus(corpus)
    wanted = chosen(listed, only)
    with loading(enabled=not json) as shown:
        fetched = fetch_sources(
            wanted,
            root,
            unpack=unpack,
            keep_archives=keep_archives,
            read=read,
            at_once=at_once,
            on_bytes=shown.on_bytes,
            on_file=shown.on_file,
        )
    failed = unfit | fetched.failed
    if json:
        print_json({**fetched._asdict(), "failed": failed})
    else:
        unpacked = f", {fetched.n_unpacked} unpacked" if fetched.n_unpacked else ""
        print(
            f"{root}: {fetched.n_loaded} files loaded, {fetched.n_bytes / 1e6:.1f} MB{unpacked}; "
            f"{fetched.n_same} were here already"
        )
    for path, why in list(failed.items())[:SHOWN_FAILURES]:
        ERR.print(f"warning: {path}: {why}", soft_wrap=True, markup=False)
    if failed:
        n_files = len(wanted) + len(unfit)
        raise MienError(f"{root}: {len(failed)} of {n_files} files could not be had; see above, and run the same again")
    if not json:
        print(f"next: mien verify {corpus} {root}")


def verify(
    corpus: Annotated[str, Positional, arg(metavar="CORPUS")],
    root: Annotated[str, Positional, arg(metavar="ROOT")],
    all: bool = False,
    json: bool = False,
) -> None:
    """Is this download complete and intact? Exits 2 where it is not.

    Args:
        corpus: ravdess, cremad or mahnob.
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
