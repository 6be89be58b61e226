"""What stops a run: the parts of its data that cannot be used."""

from collections.abc import Sequence

from pipelines.config import RunConfig
from pipelines.console import one_line
from pipelines.errors import DataError
from pipelines.task import Problem

_NAMED = 10


def refuse_bad(config: RunConfig, bad: Sequence[Problem], head: str) -> None:
    """What on_bad: fail ends with: how much is wrong and what can be done, then the first of it, each with where and
    what.

    Raises:
        DataError: something is wrong.
    """
    if not bad or config.on_bad == "skip":
        return
    lines = [one_line(f"  {problem.where}: {problem.message}") for problem in bad[:_NAMED]]
    more = [f"  … and {len(bad) - _NAMED:,} more (sixfold data check lists them all)."] if len(bad) > _NAMED else []
    raise DataError("\n".join([head, *lines, *more]))
