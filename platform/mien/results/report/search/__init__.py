"""The report of a search, from its directory alone."""

from mien.results.report.search.report import report_search

__all__ = ["report_search"]
