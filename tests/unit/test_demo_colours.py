"""Each emotion's colour can be read on the page, light and dark (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import re

import pytest

from conftest import ROOT

CSS = (ROOT / "platform/mien/predict/demo/page/style.css").read_text()
BEHIND_NOTHING = {"paper", "rule", "wash", "on-blue", "warn-wash"}  # what others are written on


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_colour_of_text_stands_out_from_the_paper(scheme):
    light, dark = CSS.split("@media (prefers-color-scheme: dark)")
    part = light if scheme == "light" else dark.partition("\n  }\n")[0]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part))
    assert {"anger", "happiness", "calm", "other-4"} <= colours.keys()
    paper = luminance(colours["paper"])
    contrasts = {
        name: (max(paper, own) + 0.05) / (min(paper, own) + 0.05)
        for name, own in ((name, luminance(value)) for name, value in colours.items() if name not in BEHIND_NOTHING)
    }
    assert {name: round(value, 2) for name, value in contrasts.items() if value < 4.5} == {}
