"""The kinds of targets, and the module that knows what a report shows of each: metrics, tables, figures, words."""

from __future__ import annotations

from types import ModuleType

from mien.results.report import classes, dimensions

KINDS: dict[str, ModuleType] = {"classes": classes, "dimensions": dimensions}
