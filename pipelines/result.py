"""What a finished run gives to a caller in Python. Imports next to nothing, as the package itself imports it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Result:
    """A finished run."""

    folder: Path
    metrics: dict[str, Any]
    """The content of metrics.json."""
    report: Path

    @property
    def headline(self) -> float:
        """The test score that the task is judged by."""
        value: float = self.metrics["scores"][self.metrics["headline"]]["value"]
        return value
