"""Whether a run folder is as its run left it. Imports no TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.checkpoints import Checkpoints
from pipelines.errors import StateError
from pipelines.runs import Run, find_run


@dataclass(frozen=True)
class Verified:
    """What was found."""

    problems: list[str]
    """A line for each file that is missing, changed, damaged or new."""
    files: int
    """How many were looked at."""
    sentence: str
    """What to say where there is no problem."""


def verify(folder: Path) -> Verified:
    """Compare every file with its checksum; of an unfinished run, verify the saved states.

    Raises:
        StateError: the folder is no run, or its manifest is damaged.
    """
    run = find_run(folder)
    expected = run.manifest().get("files")
    if expected is None and run.events("end"):
        raise StateError(f"{folder / 'manifest.json'} has lost its checksums: restore it.")
    if expected is None:
        return _verify_states(run)
    found = run.checksums()
    problems = [f"missing: {name}" for name in expected if name not in found]
    problems += [f"changed: {name}" for name in expected if name in found and found[name] != expected[name]]
    problems += [f"new: {name}" for name in found if name not in expected]
    sentence = f"{folder}: all {len(expected)} files are as the run left them."
    return Verified(sorted(problems), len(found.keys() | expected.keys()), sentence)


def _verify_states(run: Run) -> Verified:
    files = sorted((run.path / "state").glob("*train-*.safetensors"))
    problems = []
    for file in files:
        try:
            Checkpoints(run).read(file)
        except StateError as error:
            problems.append(f"damaged: {error}")
    saved = run.checkpoints()
    if saved and not files:
        problems.append(f"missing: the state of step {saved[-1]['step']}")
    done = ", ".join(run.finished_stages()) or "none"
    sentence = (
        f"{run.path} is unfinished (stages done: {done}), and only a finished run has checksums of all its files; "
        f"its saved states ({len(files)}) and the weights that they count on are whole."
    )
    return Verified(problems, len(files), sentence)
