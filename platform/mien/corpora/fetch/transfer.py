"""Download: one file into `<name>.part` beside its place, gone on with where it was broken off, and checked.

What a server may do and nobody should notice: break the connection, state a length that is none, ignore or refuse a
range, throttle, answer with an error of its own for a while, or deliver a wrong byte once.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mien.bucket import asked_again, explained, located
from mien.corpora.fetch.sources import PART, Source
from mien.errors import DamagedError, MienError
from mien.folder import Folder

CHUNK_BYTES = 2**18  # of a web server
BLOCK_BYTES = 8 * 2**20  # of a bucket, by a request each
TIMEOUT_S = (30.0, 60.0)  # until a connection stands, and between two reads
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 300.0  # before the next try; the longest also where a server asks for more
_FOR_A_WHILE = (408, 425, 429, 500, 502, 503, 504)


class Refused(MienError):
    """A file that cannot be had, whatever the number of tries; the sentence goes on after its name."""


class Again(Exception):
    """A try that failed by what may be over soon. wait_s: what the server asks to wait."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Body:
    """What a server sends. start: place of the first byte in the file; n_bytes: of the whole file, None where it does
    not say; validator: what tells this version of the file from another."""

    start: int
    n_bytes: int | None
    validator: str | None
    chunks: Iterator[bytes]


class Origin(Protocol):
    """Where files come from."""

    def open(self, url: str, start: int, validator: str | None) -> Body:
        """The file from `start` on if it is still that version, else from its beginning. Raises Again and Refused, and
        so do the chunks."""


class Loaded(NamedTuple):
    n_bytes: int
    sha256: str
    md5: str | None


class Web:
    """Files by HTTP. Each thread keeps a connection; certificates are checked, and a redirect leads to http(s) only,
    never from https to http. Proxies, ~/.netrc and REQUESTS_CA_BUNDLE count as `requests` reads them."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def _session(self) -> Any:
        import requests

        class Session(requests.Session):
            def get_redirect_target(self, resp: requests.Response) -> str | None:
                target = super().get_redirect_target(resp)
                if target and resp.url.startswith("https:") and target.lower().startswith("http:"):
                    raise requests.exceptions.InvalidSchema("a redirect from https to http")
                return target

        if not hasattr(self._of_thread, "session"):
            self._of_thread.session = Session()
        return self._of_thread.session

    def open(self, url: str, start: int, validator: str | None) -> Body:
        import requests

        headers = {"Accept-Encoding": "identity", "User-Agent": "mien"}  # the bytes as they lie there
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator:
                headers["If-Range"] = validator
        try:
            answer = self._session().get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
        except requests.TooManyRedirects:
            raise Refused("the server redirects in a circle; give another URL by --urls") from None
        except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL, ValueError) as error:
            raise Refused(
                f"the server leads to what is no safe address ({error}); give another URL by --urls"
            ) from None
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise Again(_said(error)) from error
            raise Refused(
                f"the server's certificate is not to be trusted ({_said(error)}); name your organisation's in "
                "REQUESTS_CA_BUNDLE"
            ) from None
        except requests.RequestException as error:
            raise Again(_said(error)) from error
        return self._body(answer, url, start)

    def _body(self, answer: Any, url: str, start: int) -> Body:
        from urllib3.exceptions import InvalidHeader
        from urllib3.util import Retry

        status, headers = answer.status_code, answer.headers
        validator = _validator(headers)
        n_stated = int(headers["Content-Length"]) if headers.get("Content-Length", "").isdigit() else None
        first, n_whole = _range(headers.get("Content-Range", ""))
        if status == 200:
            if "text/html" in headers.get("Content-Type", "") and not url.endswith((".html", ".htm", "/")):
                answer.close()
                raise Refused(
                    "the server sends a web page in place of the file: log in or accept the licence there, and put the "
                    "file here by hand or give a direct URL by --urls"
                )
            return Body(0, n_stated, validator, _chunks(answer))
        if status == 206 and start and first == start:
            return Body(start, n_whole, validator, _chunks(answer))
        answer.close()
        if status in (206, 416) and start:
            if status == 416 and n_whole == start:  # all of it was here
                return Body(start, start, validator, iter(()))
            return self.open(url, 0, None)
        said = f"HTTP {status} {answer.reason}".rstrip()
        if status in _FOR_A_WHILE:
            with suppress(InvalidHeader):  # neither seconds nor a date
                raise Again(said, Retry().get_retry_after(answer.raw))
            raise Again(said)
        if status in (401, 403):
            raise Refused(f"the server says {said}; log in there, and give a URL that you may read by --urls")
        raise Refused(f"the server says {said}; compare the URL with the page of the corpus")


class Bucket:
    """Objects of S3, a block by a request each; S3's own errors were tried again below (mien.folder)."""

    def open(self, url: str, start: int, validator: str | None) -> Body:
        try:
            with explained(url):
                system, name = located(url)
                file: Any = system.open_input_file(name)
                mtime_ns = system.get_file_info(name).mtime_ns
        except FileNotFoundError:
            raise Refused("it is gone from the bucket; list it again") from None
        version, n_bytes = str(mtime_ns), int(file.size())
        start = start if validator == version and start <= n_bytes else 0
        return Body(start, n_bytes, version, _blocks(url, file, start))


def _blocks(url: str, file: Any, start: int) -> Iterator[bytes]:
    with explained(url), file:
        file.seek(start)
        while block := asked_again(lambda: file.read(BLOCK_BYTES)):
            yield block


def _chunks(answer: Any) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError

    try:
        yield from answer.raw.stream(CHUNK_BYTES, decode_content=False)
    except (HTTPError, OSError) as error:
        raise Again(_said(error)) from error
    finally:
        answer.close()


def download(
    source: Source,
    target: Path,
    origin: Origin,
    *,
    tries: int,
    wait: Callable[[float], None],
    on_bytes: Callable[[int, int | None], None],
) -> Loaded:
    """The file at its place, whole and as published.

    tries: failures in a row, none of which brought a byte, until it is given up. wait: sleeps so many seconds.
    on_bytes: called with the bytes that are here now and those of the whole file; it may raise to stop.

    Raises Refused; OSError, with the file's name, where the disk does not take it. `<name>.part` and what it is a part
    of (`<name>.part.json`) stay for the next time.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + PART)
    why = ""
    for _ in range(2):  # a wrong byte may come once
        _load(source, part, origin, tries, wait, on_bytes)
        loaded = hashes(part, md5=source.md5 is not None)
        if not (why := differs(source, loaded)):
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(target)
            _note(part).unlink(missing_ok=True)
            return loaded
        part.unlink()
    raise Refused(f"{why}, twice: what the server has is not what was published; ask its keeper, or give another list")


def differs(source: Source, loaded: Loaded) -> str:
    """What of a file is not as published; "" where nothing is."""
    if source.n_bytes not in (None, loaded.n_bytes):
        return f"{loaded.n_bytes} bytes in place of {source.n_bytes}"
    for name in ("sha256", "md5"):
        published, found = getattr(source, name), getattr(loaded, name)
        if published not in (None, found):
            return f"{name} {found} in place of {published}"
    return ""


def hashes(path: Path, *, md5: bool) -> Loaded:
    """Of a file as it lies on the disk."""
    sha256 = hashlib.sha256()
    other = hashlib.md5(usedforsecurity=False) if md5 else None
    n_bytes = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            n_bytes += len(block)
            sha256.update(block)
            if other:
                other.update(block)
    return Loaded(n_bytes, sha256.hexdigest(), other.hexdigest() if other else None)


def _load(
    source: Source,
    part: Path,
    origin: Origin,
    tries: int,
    wait: Callable[[float], None],
    on_bytes: Callable[[int, int | None], None],
) -> None:
    """Fills the part until the server has no more of it."""
    n_failed = n_best = 0
    while True:
        start, validator = _begun(source, part)
        if start and start == source.n_bytes:  # all but checked when it was killed
            return
        try:
            body = origin.open(source.url, start, validator)
            n_here = _write(source, part, body, on_bytes)
            n_bytes = body.n_bytes if source.n_bytes is None else source.n_bytes
            if n_bytes is None or n_here >= n_bytes:
                return
            raise Again(f"the server ends after {n_here} of {n_bytes} bytes")
        except Again as error:
            n_here = part.stat().st_size if part.exists() else 0
            n_failed = 1 if n_here > n_best else n_failed + 1
            n_best = max(n_best, n_here)
            if n_failed >= tries:
                raise Refused(f"{error} ({tries} tries); run the same again later, it goes on from here") from error
            wait(_wait_s(n_failed, error.wait_s))


def _write(source: Source, part: Path, body: Body, on_bytes: Callable[[int, int | None], None]) -> int:
    """Bytes that the part has afterwards."""
    n_bytes = body.n_bytes if source.n_bytes is None else source.n_bytes
    n_here = body.start
    if body.start == 0:
        part.unlink(missing_ok=True)  # before its note is another's
        note = {"url": source.public_url, "validator": body.validator}
        Folder(part.parent).write_json(_note(part).name, note, sealed=True)
    with _named(part), part.open("ab") as file:
        on_bytes(n_here, n_bytes)
        for chunk in body.chunks:
            file.write(chunk)
            n_here += len(chunk)
            on_bytes(n_here, n_bytes)
            if source.n_bytes is not None and n_here > source.n_bytes:  # and it may never end
                break
    return n_here


@contextmanager
def _named(part: Path) -> Iterator[None]:
    """A disk that is full says so without the name of the file."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(part)) from None


def _begun(source: Source, part: Path) -> tuple[int, str | None]:
    """Bytes of a part that can be gone on with, and what they are a part of; 0 where it must start over."""
    try:
        note = Folder(part.parent).read_json(_note(part).name, dict[str, str | None])
        n_here = part.stat().st_size
    except (DamagedError, FileNotFoundError):
        return 0, None
    validator = note.get("validator")
    is_checked = source.sha256 is not None or source.md5 is not None
    if note.get("url") != source.public_url or (validator is None and not is_checked):
        return 0, None
    return (n_here, validator) if source.n_bytes is None or n_here <= source.n_bytes else (0, None)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _wait_s(n_failed: int, asked_s: float | None) -> float:
    """Before the next try: twice as long each time, by a random part shorter, so that many do not come back at once;
    longer where the server asks for it."""
    own_s = FIRST_WAIT_S * 2 ** min(n_failed - 1, 6) * random.uniform(0.5, 1.0)
    return min(max(own_s, asked_s or 0.0), LONGEST_WAIT_S)


def _validator(headers: Any) -> str | None:
    """What `If-Range` takes: a strong ETag, else the date (RFC 9110, 13.1.5)."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _range(text: str) -> tuple[int | None, int | None]:
    """First byte and length of the whole from a Content-Range (RFC 9110, 14.4); None for what it does not say.

    >>> _range("bytes 7-9/10"), _range("bytes */10"), _range("bytes 7-9/*"), _range("")
    ((7, 10), (None, 10), (7, None), (None, None))
    """
    span, _, whole = text.removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdigit() else None, int(whole) if whole.isdigit() else None


def _said(error: BaseException) -> str:
    """The innermost cause in a few words: requests wraps urllib3, which wraps the socket."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
