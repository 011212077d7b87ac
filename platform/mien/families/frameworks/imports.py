"""How a framework is imported: without what it does not need, and without what native code prints meanwhile."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STDERR = 2  # the file descriptor, which native code writes to


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """What is imported here does as if these packages were not installed, unless they are imported already.

    For packages that another imports where it can, and that would cost seconds or harm.
    """
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import of it fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def without_native_lines() -> Iterator[None]:
    """Drops what this process writes to its standard error. Python's own errors are raised as ever."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    try:
        before = os.dup(STDERR)
    except OSError:  # there is no standard error
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STDERR)
        yield
    finally:
        os.dup2(before, STDERR)
        os.close(before)
        os.close(nowhere)
