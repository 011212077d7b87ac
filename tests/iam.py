"""What IAM decides over a policy, offline: as much of its logic as mien's policies use, and an error for the rest.

Source: "Policy evaluation logic" and "IAM JSON policy elements: Condition operators", IAM User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Statements = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Request:
    """context: condition keys and what AWS fills in for them; a key that is not here is absent from the request."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def allowed(statements: Statements, request: Request) -> bool:
    """At least one statement allows it, and none denies it."""
    effects = {statement["Effect"] for statement in statements if _applies(statement, request)}
    return effects == {"Allow"}


def may_assume(statements: Statements, kind: str, principal: str) -> bool:
    """Whether a role of this trust policy may be taken on. kind, principal: ("Service", "ec2.amazonaws.com"), ..."""
    effects = set()
    for statement in statements:
        named = statement["Principal"]
        there = named if isinstance(named, str) else [p for k, ps in named.items() if k == kind for p in as_list(ps)]
        if "*" in there or principal in there:
            effects.add(statement["Effect"])
    return effects == {"Allow"}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    unknown = set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}
    assert not unknown, f"this evaluator does not know {unknown}"
    return (
        any(_like(action.lower(), request.action.lower()) for action in as_list(statement["Action"]))
        and any(_like(resource, request.resource) for resource in as_list(statement["Resource"]))
        and all(
            _holds(operator, as_list(wanted), request.context.get(key))
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, wanted: list[str], found: str | None) -> bool:
    """An absent key satisfies none of these."""
    if operator in ("StringEquals", "ArnEquals", "StringLike", "ArnLike"):  # ArnEquals takes wildcards as ArnLike does
        matches = str.__eq__ if operator == "StringEquals" else _like
        return found is not None and any(matches(one, found) for one in wanted)
    if operator == "Bool":
        return found is not None and found.lower() in [one.lower() for one in wanted]
    raise AssertionError(f"this evaluator does not know {operator}")


def _like(pattern: str, text: str) -> bool:
    """IAM's wildcards: * and ?, across : and /."""
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.fullmatch("".join(parts), text) is not None
