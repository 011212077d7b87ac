"""Mistakes on a command line, each told in one line that names the offender and the remedy.

tyro draws them as boxes. It hands over what it found wrong by `tyro._errors`, which it does not promise to keep:
tests/unit/test_mistakes.py says so should a new version differ, and what is not known here is drawn as tyro does.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

import tyro
from tyro import _errors as found

from mien.errors import MienError


def refused(event: found.ParseErrorEvent, command: str, function: Callable[..., None]) -> None:
    """Raises MienError for what tyro found wrong with the words of a command, such as "mien train"."""
    text = _told(event, function)
    if text:
        raise MienError(f"{text}; see {command} --help")


def no_such_command(word: str, known: Iterable[str], prog: str) -> MienError:
    """Of "mien", or of a group of commands such as "mien store"."""
    return MienError(
        f"{f'{prog} {word}'.removeprefix('mien ')}: no such command{_like(word, known)}; see {prog} --help"
    )


def _told(event: found.ParseErrorEvent, function: Callable[..., None]) -> str:
    if isinstance(event, found.MissingArgs):
        if event.unrecognized_tokens:
            return _unknown(event.unrecognized_tokens, function)
        return f"give {', '.join(_described(missing.arg) for missing in event.missing_arguments)}"
    if isinstance(event, found.UnrecognizedArgs):
        return _unknown(event.tokens, function)
    if isinstance(event, found.InvalidChoice):
        name = event.argument.display_name()
        return f"{name} {event.value}: choose from {', '.join(event.choices)}"
    if isinstance(event, found.BadValue):
        n_values = event.argument.lowered.nargs
        return f"{event.argument.display_name()}: give {'a value' if n_values == 1 else f'{n_values} values'}"
    if isinstance(event, found.InstantiationFailure):
        argument = f"{event.argument.display_name()}: " if event.argument is not None else ""
        return f"{argument}{_plain(event.message)}"
    return ""


def _plain(message: str) -> str:
    """
    >>> _plain("invalid literal for int() with base 10: 'x'")
    "'x' is no whole number"
    """
    for python, ours in (
        ("invalid literal for int() with base 10", "whole number"),
        ("could not convert string to float", "number"),
    ):
        start, is_this, value = message.partition(f"{python}: ")
        if is_this:
            return f"{start}{value} is no {ours}"
    return message


def _described(argument: object) -> str:
    """A missing argument: its name, and the first sentence of its help."""
    name = argument.lowered.metavar if argument.is_positional() else argument.display_name()  # type: ignore[attr-defined]
    text = (argument.field.helptext or "").partition(". ")[0].rstrip(".")  # type: ignore[attr-defined]
    return f"{name} ({text[:1].lower()}{text[1:]})" if text else str(name)


def _unknown(tokens: list[str], function: Callable[..., None]) -> str:
    """Words that no option or argument takes: the first of them, and the option that is like it."""
    flag = next((token for token in tokens if token.startswith("-")), None)
    if flag is None:
        return f"{' '.join(tokens)}: one word too many" if len(tokens) == 1 else f"{' '.join(tokens)}: words too many"
    return f"no option {flag}{_like(flag.partition('=')[0], options_of(function))}"


def options_of(function: Callable[..., None]) -> list[str]:
    """The options of a command, as they are typed."""
    return [option for action in tyro.extras.get_parser(function)._actions for option in action.option_strings]


def _like(word: str, known: Iterable[str]) -> str:
    like = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {like[0]}?" if like else ""
