"""Reports read by other means than those that wrote them."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np


class Page(HTMLParser):
    """What a page would fetch, and what it says of its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.pictures: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        if given.get("role") == "img":
            self.pictures.append(given.get("aria-label", ""))
        for name in ("src", "srcset", "data", "poster", "action"):
            self.fetched += [given[name]] if given.get(name) else []
        if tag in ("link", "use", "image"):
            self.fetched += [given["href"]]


def mean_recall(truth: np.ndarray, called: np.ndarray) -> float:
    return float(np.mean([np.mean(called[truth == k] == k) for k in np.unique(truth)]))
