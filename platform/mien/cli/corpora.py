"""mien corpora, sample, fetch, verify: what can be read, a sample of it, a download, and whether that is whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from mien.cli.terminal import ERR, bar, print_json, table
from mien.corpora import CORPORA, settings_type
from mien.errors import MienError

SHOWN_FAILURES = 10


def corpora(json: bool = False) -> None:
    """What is supported, with licence, access and expected counts; own recordings are the corpus table.

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
    corpora: Annotated[tuple[str, ...], arg(help=f"Which: {', '.join(CORPORA)}.")] = ("ravdess", "cremad"),
    subjects: int = 4,
    per_emotion: int = 3,
    seed: int = 0,
) -> None:
    """Write tiny synthetic corpora in the true on-disk layouts, to try everything without a download.

    Each comes with a table of ratings of valence and arousal, for `mien prepare ... --attach ratings=TABLE`.

    Args:
        directory: Where; a folder per corpus is made in it.
        subjects: People in each.
        per_emotion: Clips of each person and emotion, as far as the corpus has room for them.
        seed: Another seed makes other people and other clips.
    """
    from mien.corpora.sample.write import write_sample

    with bar("synthetic clips") as advance:
        roots = write_sample(directory, corpora, subjects, per_emotion, seed, on_clip=advance)
    for name, root in roots.items():
        print(f"{name}: {root}")
    for name, root in roots.items():
        print(f"next: mien prepare {name} {root}")


# One of those that are known; its help is made of them.
CorpusName = Annotated[str, Positional, arg(metavar="CORPUS", help=f"{', '.join(CORPORA)}.")]


def fetch(
    corpus: CorpusName,
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

    Without --urls and --source, the files are those of a list that is known: of ravdess, cremad, and ami's annotations.

    Args:
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


def verify_command(words: Sequence[str]) -> Callable[..., None]:
    """`mien verify` with the settings of the corpora that these words name."""
    pages = corpus_pages(words)

    def verify(
        corpus: CorpusName,
        root: Annotated[str, Positional, arg(metavar="ROOT")],
        settings: Annotated[Any, arg(name="")] = pages(),  # noqa: B008
        all: bool = False,
        json: bool = False,
    ) -> None:
        """Is this download complete and intact, is this table of clips usable? Exits 2 where it is not.

        The settings of a corpus are shown where it is named: mien verify table --help.

        Args:
            root: Folder of the download, or table of clips.
            settings: Of the corpus.
            all: Print every finding, not the first three of each kind.
            json: Print the findings as JSON.
        """
        from mien.cli.summaries import verification
        from mien.corpora import load

        module: Any = load(corpus)
        if "://" in root:
            raise MienError(
                f"{root}: verify reads folders of this machine; copy it here first, for example with aws s3 sync"
            )
        takes = "settings" in signature(module.verify).parameters
        chosen = {"settings": getattr(settings, corpus, None)} if takes else {}
        with bar("files read", enabled=not json) as advance:
            found = module.verify(Path(root), on_file=advance, **chosen)
        if json:
            from dataclasses import asdict

            print_json({**asdict(found), "intact": found.intact})
        else:
            verification(found, every=all)
        if not found.intact:
            raise SystemExit(2)

    verify.__annotations__["settings"] = Annotated[pages, arg(name="")]
    return verify


def corpus_pages(words: Sequence[str]) -> type:
    """A dataclass with a field for the settings of each corpus that these words name; most have none."""
    declared = {word: settings_type(word) for word in words if word in CORPORA}
    pages: list[Any] = [(name, one, field(default_factory=one)) for name, one in declared.items() if one]
    return make_dataclass("CorpusSettings", pages, frozen=True)
