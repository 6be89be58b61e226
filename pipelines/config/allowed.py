"""What a setting takes, in words: read off the field's type and range, used by errors, help and documentation."""

import os
import re
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

Kind = Literal["whole", "number", "flag", "choice", "text", "list", "pairs"]

NOUNS: dict[type, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
}
BOUNDS = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
COUNTS = ("no", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True)
class Allowed:
    """The values a field takes."""

    kind: Kind
    optional: bool
    """Takes none besides."""
    words: str
    """As in 'a whole number of at least 1, or none'."""
    range: str = ""
    """As in 'at least 1', where there is one."""
    choices: tuple[str, ...] = ()


def allowed(field: FieldInfo) -> Allowed:
    """What a config's field takes; a type the settings have no rule for is a mistake of the task's author."""
    annotation, optional, besides = _parts(field.annotation)
    metadata = [*field.metadata]
    if get_origin(annotation) is Annotated:
        annotation, *constraints = get_args(annotation)
        metadata += [bound for constraint in constraints for bound in getattr(constraint, "metadata", [])]
    kind, words, choices = _describe(annotation, field.default, metadata)
    limits = _range(metadata).strip().removeprefix("of ") if kind in {"whole", "number"} else ""
    words = ", or ".join([words, *besides, *(["none"] if optional else [])])
    return Allowed(kind, optional, words, limits, (*choices, *besides))


def read_value(value: Any, rule: Allowed) -> Any:
    """A value as a person writes it, made ready for pydantic: texts of lists are cut up, 32.0 is a whole number."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        return value
    if rule.kind == "list":
        return re.split(r"[,\s]+", text) if (text := value.strip("[]() \t")) else []
    if rule.kind == "whole":
        return _whole(value)
    if rule.kind == "text" and not value.strip():
        raise ValueError("cannot be empty")
    if rule.kind == "text" and "\0" in value:
        raise ValueError("cannot hold a zero byte")
    return value


def _whole(text: str) -> int | str:
    """'64', '64.0' and '1e5' as a whole number; anything else is left for the error to name."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else text


def _parts(annotation: Any) -> tuple[Any, bool, tuple[str, ...]]:
    """The type by itself, whether None is allowed besides, and which words are."""
    if get_origin(annotation) not in {Union, types.UnionType}:
        return annotation, False, ()
    parts = [part for part in get_args(annotation) if part is not type(None)]
    rest = [part for part in parts if get_origin(part) is not Literal] or parts
    assert len(rest) == 1, f"a setting has one type, or one type and words or None, not {annotation}"
    besides = tuple(str(word) for part in parts if part is not rest[0] for word in get_args(part))
    return rest[0], type(None) in get_args(annotation), besides


def _describe(annotation: Any, default: Any, metadata: list[Any]) -> tuple[Kind, str, tuple[str, ...]]:
    origin = get_origin(annotation)
    if annotation is bool:
        return "flag", "yes or no", ()
    if annotation is int or annotation is float:
        return ("whole" if annotation is int else "number"), NOUNS[annotation][0] + _range(metadata), ()
    if origin is Literal:
        choices = tuple(str(choice) for choice in get_args(annotation))
        return "choice", "one of " + ", ".join(choices), choices
    if origin is tuple:
        return "list", _list_words(get_args(annotation), default), ()
    if origin is dict:
        return "pairs", "name=column pairs, as in image=path label=class", ()
    assert annotation is str, f"settings have no rule for the type {annotation}"
    return "text", NOUNS[str][0], ()


def _range(metadata: list[Any]) -> str:
    """' from 8 to 1024' or ' above 0 and below 1', from annotated_types' Ge, Gt, Le, Lt."""
    bounds = {name: getattr(bound, name) for bound in metadata for name in BOUNDS if hasattr(bound, name)}
    if set(bounds) == {"ge", "le"}:
        return f" from {bounds['ge']} to {bounds['le']}"
    return " and".join(f" {word} {bounds[name]}" for name, word in BOUNDS.items() if name in bounds)


def _list_words(parts: tuple[Any, ...], default: Any) -> str:
    """'three numbers, as in 0.8,0.1,0.1'."""
    item, metadata = parts[0], []
    if get_origin(item) is Annotated:
        item, *constraints = get_args(item)
        metadata = [bound for constraint in constraints for bound in getattr(constraint, "metadata", [constraint])]
    count = "" if parts[-1] is Ellipsis else f"{COUNTS[len(parts)]} "
    example = ",".join(f"{number:g}" if isinstance(number, float) else str(number) for number in default or ())
    return f"{count}{NOUNS[item][1]}{_range(metadata)}" + (f", as in {example}" if example else "")
