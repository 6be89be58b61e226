"""Killed runs of every task come back to the bit: some of the trials of faults.py; `make test-faults` has them
all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import registry

FAULTS = Path(__file__).parent / "faults.py"


@pytest.mark.parametrize("task", list(registry.TASKS))
def test_a_killed_run_comes_back(task: str) -> None:
    words = [sys.executable, str(FAULTS), "--few", "--json", "--task", task]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=1200)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) >= (8 if task == next(iter(registry.TASKS)) else 1), done.stderr[-3000:]
    assert [result for result in results if result[1]] == []
    assert done.returncode == 0
