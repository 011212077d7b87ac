"""Reports: tables, figures and pages from Run directories alone.

Needs numpy, pyarrow, matplotlib and jinja2, so results stay readable where ray and the frameworks break.
"""

from mien.results.report.comparison import compare, comparison_lines
from mien.results.report.overview import is_above, overview
from mien.results.report.search import report_search
from mien.results.report.series import report
from mien.results.report.summary import search_rows, summary_rows

__all__ = [
    "compare",
    "comparison_lines",
    "is_above",
    "overview",
    "report",
    "report_search",
    "search_rows",
    "summary_rows",
]
