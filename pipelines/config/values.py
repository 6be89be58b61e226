"""What settings hold that is more than a number, a choice or a text: how each is read and checked."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field


def parse_columns(value: Any) -> Any:
    """'text=review label=stars' (spaces or commas between), a list of such pairs, or a mapping, as a mapping.

    A column's name may hold spaces and commas: a pair ends only where another name= begins.
    """
    if isinstance(value, Mapping):
        return {str(key): str(column) for key, column in value.items()}
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple):
        return value
    parts = [part for text in texts for part in re.split(r"[,\s]+(?=[^\s,=]+=)", str(text).strip())]
    pairs = [part.partition("=") for part in parts]
    bad = [part for part, (key, _, column) in zip(parts, pairs, strict=True) if not (key and column)]
    if bad:
        raise ValueError(f"write name=column pairs, as in image=path label=class; {bad[0]!r} is none")
    names = [key for key, _, _ in pairs]
    twice = [key for key in names if names.count(key) > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} is given twice: keep one")
    return {key: column for key, _, column in pairs}


def check_split(value: tuple[float, float, float]) -> tuple[float, float, float]:
    """Three shares that add up to 1, or three whole counts of examples."""
    if any(number < 0 for number in value):
        raise ValueError("shares and counts cannot be negative")
    if all(float(number).is_integer() for number in value) and sum(value) > 1:
        if value[0] < 1:
            raise ValueError("the first count, of training examples, must be at least 1")
        return value
    if abs(sum(value) - 1) > 1e-6:
        raise ValueError(f"shares must add up to 1 (these add up to {sum(value):g}); counts must be whole numbers")
    if value[0] <= 0:
        raise ValueError("the first share, of training examples, must be above 0")
    return value


_SECONDS = {1: "s sec second seconds", 60: "m min minute minutes", 3600: "h hour hours"}
_UNITS = {name: seconds for seconds, names in _SECONDS.items() for name in names.split()}


def save_interval(text: str) -> tuple[int | None, float | None]:
    """'500 steps' or '5 minutes' as (steps, None) or (None, seconds)."""
    number, unit = re.fullmatch(r"\s*([\d.]*)\s*([a-z]*)\s*", text.lower()).groups()  # type: ignore[union-attr]
    steps = unit in ("", "step", "steps")
    if not float(number) > 0:
        raise ValueError
    return (int(number), None) if steps else (None, float(number) * _UNITS[unit])


def check_save_every(value: str) -> str:
    """A number of steps or a time."""
    try:
        save_interval(value)
    except (ValueError, KeyError, AttributeError):
        raise ValueError(f"write steps or a time, as in '500 steps' or '5 minutes'; {value!r} is neither") from None
    return value


def check_unfreeze(value: str) -> str:
    """none, all, staged, or last:N."""
    if value in ("none", "all", "staged") or re.fullmatch(r"last:[1-9][0-9]{0,5}", value):
        return value
    raise ValueError("takes none, all, staged, or last:N with the number of layers, as in last:20")


def check_rates(value: tuple[float, ...]) -> tuple[float, ...]:
    """Of two stages or more."""
    if len(value) < 2:
        raise ValueError("takes a number for each of at least two stages, as in 1,0.1,0.03")
    return value


def check_require(value: str) -> str:
    """gpu or tpu, alone or with a number."""
    if re.fullmatch(r"(gpu|tpu)(:[1-9][0-9]{0,3})?", value):
        return value
    raise ValueError("takes gpu or tpu, alone or with the number that this process must see, as in gpu:2")


def required_devices(require: str) -> tuple[str, int]:
    """'gpu:2' -> ('gpu', 2)."""
    kind, _, count = require.partition(":")
    return kind, int(count or 1)


Columns = Annotated[dict[str, str], BeforeValidator(parse_columns)]
Split = Annotated[tuple[float, float, float], AfterValidator(check_split)]
SaveEvery = Annotated[str, AfterValidator(check_save_every)]
Rates = Annotated[tuple[Annotated[float, Field(gt=0)], ...], AfterValidator(check_rates)]
Unfreeze = Annotated[str, AfterValidator(check_unfreeze)]
Require = Annotated[str, AfterValidator(check_require)]
if TYPE_CHECKING:
    BatchSize = int  # whoever reads a run's settings finds a number: what auto chose stands there before
else:
    BatchSize = Annotated[int, Field(ge=1)] | Literal["auto"]
"""A number, or auto until one is chosen."""


def check_roles(columns: Mapping[str, str] | None, roles: Sequence[str]) -> None:
    """See that columns are mapped to what the task reads. Raises ValueError, which names the roles there are."""
    unknown = [role for role in columns or {} if role not in roles]
    if unknown:
        raise ValueError(f"columns maps {unknown[0]!r}; there are {', '.join(roles)}")
