"""Flags: library errors name the argument (workers 0: ...), and the command line adds its flag (--workers 0: ...)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from tyro.conf import arg

# Said once: every command that takes long has them.
Quiet = Annotated[bool, arg(aliases=["-q"])]
Verbose = Annotated[bool, arg(aliases=["-v"])]

# The first word of a message, up to its value or colon: an argument of the library, dots for groups of them.
_ARGUMENT = re.compile(r"^(?:execution\.)?([a-z][a-z0-9_.-]*)(?=[ :])")


def with_flags(message: str, words: Sequence[str]) -> str:
    """The message, its first word as a flag where these words gave that flag.

    >>> with_flags("workers 0: give at least 1", ["prepare", "ravdess", "x", "--workers", "0"])
    '--workers 0: give at least 1'
    >>> with_flags("limit 0: give at least 1", ["prepare", "ravdess", "x"])
    'limit 0: give at least 1'
    """
    found = _ARGUMENT.match(message)
    if not found:
        return message
    flag = f"--{found[1].replace('_', '-')}"
    given = {word.partition("=")[0].replace("_", "-") for word in words}
    return f"{flag}{message[found.end() :]}" if flag in given else message
