"""Other processes of the same code, wherever this one was started from. Imports no TensorFlow."""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

_SAME_PATH = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "


def calling(code: str, *arguments: str) -> list[str]:
    """The command line of a Python that imports from where this one does and runs some code, which finds the arguments
    in sys.argv[2:]."""
    return [sys.executable, "-c", _SAME_PATH + code, json.dumps(sys.path), *arguments]


def module(name: str, *arguments: str) -> list[str]:
    """The command line of a module of ours; in an environment with `with_our_code`."""
    return [sys.executable, "-P", "-m", name, *arguments]


def with_our_code() -> dict[str, str]:
    """What to set so that `module` finds this code, whatever lies in the current folder."""
    paths = [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def how_it_ended(code: int, words: str) -> str:
    """Of a process that gave no answer: the signal it died of, or the last line of its standard error."""
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            reasons = {"SIGILL": ": this processor lacks instructions that it was built for"}
            reasons |= {"SIGKILL": ", as where memory runs out"}
            return f"it dies of {name}{reasons.get(name, '')}"
    lines = [line for line in words.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"it ends with exit {code} and no word"
