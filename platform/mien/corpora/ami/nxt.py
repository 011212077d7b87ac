"""NXT XML: the files in which the NITE XML Toolkit keeps annotations apart from each other and from the recordings.

An element has an id of its own (`nite:id`) and points to those of another file by

    <nite:child href="ES2002a.A.words.xml#id(ES2002a.A.words0)..id(ES2002a.A.words12)"/>

Carletta et al. 2003, Behavior Research Methods, Instruments, & Computers 35(3): 353-363. Read by expat itself, as
xml.etree does not say on which line an element stands, and a message about one must. A file that declares entities,
which can multiply without end or lead to another file, is refused; no file of a corpus does. So is one of more than
MOST_BYTES: the words of one person in a meeting of two hours take a tenth of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

MOST_BYTES = 2**24
_HREF = re.compile(r"(?P<file>[^#]*)#id\((?P<first>[^()]+)\)(?:\.\.id\((?P<last>[^()]+)\))?")


class BrokenXml(ValueError):
    """A file that is no XML to its end. The message says on which line, where that is known."""


@dataclass(slots=True)
class Element:
    """One element, its names without their namespaces. line: where it begins in its file, from 1."""

    tag: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Its `nite:id`, empty where it has none."""
        return self.attributes.get("id", "")

    def walk(self) -> Iterator[Element]:
        """This element and all within it, in the order of the file."""
        left = [self]
        while left:
            element = left.pop()
            yield element
            left += reversed(element.children)


class Pointer(NamedTuple):
    """What an href points to: elements of a file, from the first to the last; those two are one for a single one."""

    file: str
    first: str
    last: str


def read_nxt(path: Path) -> Element:
    """The root of a file, in any encoding that it declares (AMI's are ISO-8859-1).

    Raises BrokenXml where it cannot be read, is cut off or is no XML.
    """
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    top = Element("", {}, 0)
    stack = [top]
    texts: list[list[str]] = [[]]

    def start(name: str, attributes: dict[str, str]) -> None:
        plain = {_local(key): value for key, value in attributes.items()}
        element = Element(_local(name), plain, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)
        texts.append([])

    def end(_name: str) -> None:
        stack.pop().text = "".join(texts.pop())

    def text(data: str) -> None:
        if not data.isspace():
            texts[-1].append(data)

    def entity(name: str, *_: object) -> None:
        raise BrokenXml(f"line {parser.CurrentLineNumber}: it declares an entity, {name}, as no NXT file does")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.EntityDeclHandler = entity
    try:
        if (n_bytes := path.stat().st_size) > MOST_BYTES:
            raise BrokenXml(f"{n_bytes} bytes, more than the {MOST_BYTES} that annotations have")
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise BrokenXml(f"line {error.lineno}: {expat.ErrorString(error.code)}") from None
    except OSError as error:
        raise BrokenXml(f"cannot be read ({error.strerror})") from None
    except BrokenXml:
        raise
    except (LookupError, ValueError) as error:  # of an encoding that Python does not know, or not byte by byte
        raise BrokenXml(f"line 1: {error}") from None
    return top.children[0]


def pointer(href: str) -> Pointer:
    """
    >>> pointer("A.words.xml#id(A.words0)..id(A.words12)")
    Pointer(file='A.words.xml', first='A.words0', last='A.words12')
    >>> pointer("da-types.xml#id(ami_da_4)").last
    'ami_da_4'

    Raises ValueError for any other form.
    """
    if not (found := _HREF.fullmatch(href)):
        raise ValueError(f"href {href!r} is not of the form FILE#id(FIRST)..id(LAST)")
    return Pointer(found["file"], found["first"], found["last"] or found["first"])


def _local(name: str) -> str:
    return name.rpartition("}")[2]
