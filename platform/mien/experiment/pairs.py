"""Pairs: a mapping of texts that the command line takes whole, as NAME VALUE NAME VALUE ... or NAME=VALUE ...; no
words empty it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from tyro.constructors import PrimitiveConstructorSpec


def _from_words(words: list[str]) -> dict[str, str]:
    if words and all(word.partition("=")[0] and "=" in word for word in words):
        return dict(word.split("=", 1) for word in words)
    if len(words) % 2:
        raise ValueError(f"{' '.join(words)}: a name without a value; give pairs")
    return dict(zip(words[::2], words[1::2]))


def _to_words(pairs: Mapping[str, str]) -> list[str]:
    return [word for pair in pairs.items() for word in pair]


def _is_pairs(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) for pair in value.items() for text in pair)


Pairs = Annotated[
    Mapping[str, str],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="[NAME VALUE ...]",
        instance_from_str=_from_words,
        is_instance=_is_pairs,
        str_from_instance=_to_words,
    ),
]
