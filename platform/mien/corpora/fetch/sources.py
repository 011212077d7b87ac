"""Sources: the files that a corpus is downloaded as, from the corpus's own list, a list of the user, or a bucket."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from mien.errors import CorpusError
from mien.folder import MAX_NAME_BYTES, Folder, unfit_as_path

PART, LEDGER = ".part", ".mien-fetch"  # what a file is called until it is whole; what notes of a fetch begin with
_HASH_LENGTHS = {32: "md5", 64: "sha256"}  # hexadecimal digits
_KINDS = {  # of a field, by the name of its column
    "sha256": ("sha256",),
    "md5": ("md5",),
    "checksum": ("sha256", "md5"),
    "size": ("n_bytes",),
    "path": ("path",),
}
_COLUMNS = ("url", *_KINDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One file: where it is, what it becomes below the root, and what was published of it (None: nothing).

    url: http://, https:// or s3://. Hashes in lower-case hex.
    """

    url: str
    path: str
    n_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def public_url(self) -> str:
        """The URL as it may be written down and printed: without a password, and without a query, which may be one."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def of_corpus(name: str) -> list[Source]:
    """What the corpus's own module lists. Raises CorpusError, which says what to do, where it lists nothing."""
    from mien.corpora import load

    module = load(name)
    if listed := getattr(module, "sources", None):
        return list(listed())
    card = getattr(module, "CARD", None)
    how = f"get it by hand ({card.access})" if card else "get it by hand"
    raise CorpusError(
        f"corpus {name}: no public list of its files is known here; {how}, or give a list of URLs by --urls FILE, or "
        "a bucket by --source s3://bucket/prefix"
    )


def of_bucket(uri: str) -> tuple[list[Source], dict[str, str]]:
    """Each object below a prefix, and of each key that can be no path here the reason.

    Raises CorpusError where there is nothing, BucketError where S3 refuses.
    """
    if not uri.startswith("s3://"):
        raise CorpusError(f"source {uri}: is no bucket; give s3://bucket/prefix")
    found = {name: file for name, file in Folder(uri).files().items() if not name.endswith("/")}
    if not found:
        raise CorpusError(f"source {uri}: holds no objects; check bucket and prefix")
    unfit = {name: why for name in found if (why := _unfit(name))}
    place = uri.rstrip("/")
    listed = [Source(url=f"{place}/{name}", path=name, n_bytes=file.size) for name, file in found.items()]
    return [source for source in listed if source.path not in unfit], unfit


def of_list(file: Path) -> list[Source]:
    """The URLs of a text or CSV file, a line each; `#` begins a comment.

    A line is a URL and, after commas and in any order, its SHA-256 or MD5 in hex, its size in bytes, and the path that
    it gets below the root (else the last part of the URL). With a header (url, sha256, md5, checksum, size, path) the
    columns count by name. Lines `wget -P FOLDER URL` are taken as well: the AMI site makes such a script.

    Raises CorpusError, which names the line, for what is none of this, for two lines of one path, and for a path that
    would lead out of the root.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"urls {file}: cannot be read ({error}); give a text file with a URL in each line") from None
    sources: list[Source] = []
    columns: list[str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        fields = [field.strip() for field in next(csv.reader([line], skipinitialspace=True))]
        if columns is None and not sources and fields[0].lower() == "url":
            columns = [field.lower() for field in fields]
            if unknown := set(columns) - set(_COLUMNS):
                raise CorpusError(
                    f"urls {file}, line {number}: no columns are {', '.join(sorted(unknown))}; "
                    f"there are {', '.join(_COLUMNS)}"
                )
            continue
        try:
            sources.append(_by_wget(line) if line.startswith("wget ") else _by_fields(fields, columns))
        except ValueError as error:
            raise CorpusError(f"urls {file}, line {number}: {error}") from None
    if not sources:
        raise CorpusError(f"urls {file}: holds no URL; give one in each line")
    check(sources, f"urls {file}")
    return sources


def check(sources: Iterable[Source], where: str) -> None:
    """Raises CorpusError for a path that is none, or that two sources ask for."""
    taken: dict[str, str] = {}
    for source in sources:
        if why := _unfit(source.path):
            raise CorpusError(f"{where}: path {source.path!r} of {source.public_url}: {why}; name another path")
        if source.path in taken:
            raise CorpusError(
                f"{where}: path {source.path!r} stands for {taken[source.path]} and for "
                f"{source.public_url}; name another path for one of them"
            )
        taken[source.path] = source.public_url
    for path in taken:
        for above in _above(path):
            if above in taken:
                raise CorpusError(f"{where}: {above!r} is a file and a folder of {path!r}; name another path")


def chosen(sources: Sequence[Source], only: Sequence[str]) -> list[Source]:
    """Those whose path matches one of the patterns (`Audio_*`, `VideoFlash/1001_*`); all without patterns.

    Raises CorpusError for a pattern that matches nothing.
    """
    for pattern in only:
        if not any(fnmatch(source.path, pattern) for source in sources):
            raise CorpusError(f"only {pattern}: matches none of {len(sources)} files; the first is {sources[0].path}")
    return [s for s in sources if not only or any(fnmatch(s.path, pattern) for pattern in only)]


def _by_wget(line: str) -> Source:
    """`wget -P amicorpus/ES2002a/audio http://...wav`."""
    words = shlex.split(line)
    urls = [word for word in words if "://" in word]
    if len(urls) != 1 or "-P" not in words[:-1]:
        raise ValueError("a wget line is known here as `wget -P FOLDER URL`; write the URL alone")
    folder = words[words.index("-P") + 1].strip("/")
    return _by_fields([urls[0], f"{folder}/{_last(urls[0])}"], None)


def _by_fields(fields: Sequence[str], columns: Sequence[str] | None) -> Source:
    """columns: the names of the fields; without them each is known by its form. ValueError says what is wrong."""
    if columns is not None and len(fields) > len(columns):
        raise ValueError(f"{len(fields)} fields, and {len(columns)} columns in the header")
    url, *rest = fields if columns is None else [dict(zip(columns, fields)).get(name, "") for name in _COLUMNS]
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "s3") or not parts.netloc:
        raise ValueError(f"{url!r} is no URL; it must begin with https://, http:// or s3://")
    known: dict[str, str] = {}
    for name, field in zip(_COLUMNS[1:] if columns is not None else [""] * len(rest), rest):
        if not field:
            continue
        kind, value = (name, field) if name == "path" else _known_by_form(field)
        if name and kind not in _KINDS[name]:
            raise ValueError(f"{name} {field!r} is not {' or '.join(_KINDS[name])}")
        if kind in known:
            raise ValueError(f"two fields ({known[kind]!r}, {value!r}) that are both the {kind}")
        known[kind] = value
    n_bytes = known.pop("n_bytes", None)
    path = known.pop("path", "") or _last(url)
    if not path:
        raise ValueError(f"{url!r} ends without a file name; add the path that the file shall get")
    return Source(url=url, path=path, n_bytes=None if n_bytes is None else int(n_bytes), **known)


def _known_by_form(field: str) -> tuple[str, str]:
    """
    >>> _known_by_form("md5:BC696DF654C87FED845EB13823EDEF8A")
    ('md5', 'bc696df654c87fed845eb13823edef8a')
    >>> _known_by_form("208468073"), _known_by_form("speech.zip")
    (('n_bytes', '208468073'), ('path', 'speech.zip'))
    """
    digits = field.lower().removeprefix("sha256:").removeprefix("md5:")
    if len(digits) in _HASH_LENGTHS and re.fullmatch("[0-9a-f]+", digits):
        return _HASH_LENGTHS[len(digits)], digits
    return ("n_bytes", field) if field.isascii() and field.isdigit() else ("path", field)


def _last(url: str) -> str:
    """The name that a URL ends in; "" where it ends in a slash."""
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def _unfit(path: str) -> str | None:
    last = path.rsplit("/", 1)[-1]
    if last.endswith((PART, f"{PART}.json")) or path.startswith(LEDGER):
        return "a name that a fetch itself uses"
    if len(last.encode(errors="surrogateescape")) > MAX_NAME_BYTES - len(f"{PART}.json"):
        return f"a part of it is longer than {MAX_NAME_BYTES - len(f'{PART}.json')} bytes"
    return unfit_as_path(path)


def _above(path: str) -> Iterator[str]:
    """
    >>> list(_above("a/b/c"))
    ['a', 'a/b']
    """
    parts = path.split("/")[:-1]
    return ("/".join(parts[: n + 1]) for n in range(len(parts)))
