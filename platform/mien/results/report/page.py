"""Pages: templates and filters to one HTML file that fetches nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

NOT_DEFINED = "n/a"
# For people; a family that is not here is called by its key.
FAMILY_NAMES = {
    "lstm_attention": "LSTM with attention",
    "mlp": "dense layers",
    "svm": "support vector machine",
}


def render(template: str, values: Mapping[str, Any], drawings: Mapping[str, str]) -> str:
    """A page from templates/. drawings: name to <svg>, reached there as `figures.name`."""
    from markupsafe import Markup

    figures = {name: Markup(drawing) for name, drawing in drawings.items()}
    return _templates().get_template(template).render(**values, figures=figures)


def render_text(template: str, values: Mapping[str, Any]) -> str:
    """A text of Markdown from templates/. Its filters `plain` and `cell` keep what users wrote from being markup."""
    return _templates().get_template(template).render(**values)


def digits(value: float | None, signed: bool = False) -> str:
    """A score with three digits: the intervals of this field leave the second in doubt.

    >>> digits(0.61234), digits(-0.0213, signed=True), digits(None)
    ('0.612', '−0.021', 'n/a')
    """
    if value is None or math.isnan(value):
        return NOT_DEFINED
    return f"{value:{'+' if signed else ''}.3f}".replace("-", "−")


def interval(scored: Mapping[str, Any], signed: bool = False) -> str:
    """The interval of a score, as "0.571 to 0.653"."""
    if scored["low"] is None or scored["high"] is None:
        return "no interval"
    return f"{digits(scored['low'], signed)} to {digits(scored['high'], signed)}"


def p_value(value: float | None) -> str:
    """
    >>> p_value(0.0321), p_value(0.0002)
    ('p = 0.032', 'p < 0.001')
    """
    if value is None:
        return "p not defined"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def effect(value: float | None) -> str:
    """An effect size, as "+0.42".

    >>> effect(0.421), effect(None)
    ('+0.42', 'n/a')
    """
    return NOT_DEFINED if value is None else f"{value:+.2f}".replace("-", "−")


def duration(minutes: float) -> str:
    """A span of time in the unit that a person would choose.

    >>> duration(0.0874), duration(2.5), duration(150)
    ('5 seconds', '2.5 minutes', '2.5 hours')
    """
    if minutes < 1:
        return f"{minutes * 60:.0f} seconds"
    return f"{minutes:.3g} minutes" if minutes < 120 else f"{minutes / 60:.3g} hours"


@cache
def _templates() -> Any:
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("mien.results.report"),
        autoescape=lambda name: not (name or "").endswith(".md"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters |= {
        "digits": digits,
        "interval": interval,
        "p_value": p_value,
        "effect": effect,
        "duration": duration,
        "count": "{:,}".format,
        "percent": "{:.2%}".format,
        "family": family,
        "plain": plain,
        "cell": lambda value: plain(str(value)).replace("|", "\\|"),
    }
    return templates


def family(key: str) -> str:
    """A family's name for people."""
    return FAMILY_NAMES.get(key, key)


def plain(text: str) -> str:
    """A line of Markdown that shows this text as it is, tags included.

    >>> plain("Is 1 < 2,\\nor <b>not</b>?")
    'Is 1 &lt; 2, or &lt;b>not&lt;/b>?'
    """
    return " ".join(text.split()).replace("<", "&lt;")
