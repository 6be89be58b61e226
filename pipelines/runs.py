"""The run folder: its layout, its ledger of stages, its manifest. Imports no TensorFlow."""

import datetime
import hashlib
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pipelines import registry
from pipelines.errors import ConfigError, StateError
from pipelines.machine import processor
from pipelines.state import is_left_over, sync, write_bytes

STAGES = ("data", "train", "baseline", "score", "export", "report")
_LATER = ("baseline", "score", "export", "report")
"""What is done again where the data changed: with the weights that there are."""
_CUT_OFF = "cut off"
"""The status of a stage that something was raised in."""
_PACKAGES = (
    *("sixfold", "tensorflow", "keras", "keras-hub", "jax", "numpy", "scikit-learn", "pillow"),
    "tensorflow-datasets",
)


@dataclass(frozen=True)
class Run:
    """A run folder."""

    path: Path

    @property
    def settings(self) -> Path:
        """run.yaml: the resolved config."""
        return self.path / "run.yaml"

    @property
    def model(self) -> Path:
        """The folder of the finished model and its assets."""
        return self.path / "model"

    def record(self, event: str, **values: Any) -> dict[str, Any]:
        """Append one line to events.jsonl, and return it."""
        entry = {"time": _now(), "event": event, **values}
        line = json.dumps(entry, default=_plain)
        with (self.path / "events.jsonl").open("ab+") as file:
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read())[1] != b"\n":
                file.write(b"\n")  # a crash cut the last line short: it must not swallow this one
            file.write(f"{line}\n".encode())
        return entry

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """The recorded events, but for the steps and epochs that a resumed training did again, and a line cut short
        by a crash."""
        file = self.path / "events.jsonl"
        lines = file.read_text("utf-8", errors="replace").splitlines() if file.exists() else []
        found = [parsed for line in lines if (parsed := _parse(line)) is not None]
        kept: list[dict[str, Any]] = []
        last = {"step": math.inf, "epoch": math.inf, "pretraining": math.inf}
        for one in reversed(found):
            if one["event"] == "resume":
                last = {name: min(most, one.get(name, most)) for name, most in last.items()}
            if one.get(one["event"], 0) <= last.get(one["event"], math.inf):
                kept.append(one)
        return [one for one in reversed(kept) if event in (None, one["event"])]

    def restore_history(self, event: str, epochs: Iterable[dict[str, Any]]) -> None:
        """Record again what a crash of the whole machine took from the end of events.jsonl.

        Args:
            event: epoch, or pretraining; its number stands under the same name.
            epochs: all that there were.
        """
        there = {one[event] for one in self.events(event)}
        for one in epochs:
            if one[event] not in there:
                self.record(event, **one)

    def checkpoints(self, kind: str = "train") -> list[dict[str, Any]]:
        """What was recorded of the saved states of a kind."""
        return [event for event in self.events("checkpoint") if event.get("kind", "train") == kind]

    def sync_events(self) -> None:
        """Put all events on disk: what is saved after them can count on them."""
        with suppress(FileNotFoundError):
            sync(self.path / "events.jsonl")

    def finished_stages(self) -> list[str]:
        """The stages that are done, in the order of the ledger."""
        ended: set[str] = set()
        for one in self.events():
            if one["event"] == "data changed":
                ended -= set(_LATER)
            if one["event"] == "stage" and one["status"] == "end":
                ended.add(one["name"])
        return [stage for stage in STAGES if stage in ended]

    @property
    def finished(self) -> bool:
        """Whether every stage is done, and every file has its checksum."""
        return (self.path / "manifest.json").is_file() and "files" in self.manifest()

    @contextmanager
    def stage(self, name: str, used: Callable[[], Mapping[str, float]] = dict) -> Iterator[None]:
        """One entry of the ledger; it ends only if nothing was raised.

        Args:
            name: of the stage.
            used: what the process has used so far, by name; what it uses in the stage is written down.
        """
        started, before = time.perf_counter(), used()
        self.record("stage", name=name, status="start")

        def spent() -> dict[str, float]:
            seconds, now = time.perf_counter() - started, used()
            return {"seconds": seconds} | {what: now[what] - before[what] for what in before if what in now}

        def over(status: str) -> None:
            self.record("stage", name=name, status=status, **{what: round(one, 3) for what, one in spent().items()})

        try:
            yield
        except BaseException:
            with suppress(OSError):
                over(_CUT_OFF)
            raise
        over("end")

    def spent(self) -> dict[str, dict[str, float]]:
        """What each finished stage took, all its tries together: `seconds`, and what else was measured in every one of
        them; `killed`, how many tries ended without a word, of which nothing is known."""
        found: dict[str, dict[str, float]] = {}
        stages = self.events("stage")
        for name in dict.fromkeys(one["name"] for one in stages if one["status"] == "end"):
            own = [one for one in stages if one["name"] == name]
            told = [one for one in own if one["status"] in ("end", _CUT_OFF) and "seconds" in one]
            if not told:
                continue
            measured = set.intersection(*map(set, told)) - {"time", "event", "name", "status"}
            begun = sum(one["status"] == "start" for one in own)
            sums = {what: round(sum(one[what] for one in told), 3) for what in sorted(measured)}
            found[name] = {**sums, "killed": max(begun - len(told), 0)}
        return found

    def seconds(self) -> dict[str, float]:
        """How long each finished stage took, all its tries together."""
        return {name: spent["seconds"] for name, spent in self.spent().items()}

    def write_json(self, name: str, value: Any) -> None:
        """Put a JSON file into the folder, atomically."""
        write_bytes(self.path / name, (json.dumps(value, indent=1, default=_plain, ensure_ascii=False) + "\n").encode())

    def read_json(self, name: str) -> Any:
        """A JSON file of the folder.

        Raises:
            StateError: it is missing or damaged.
        """
        try:
            return json.loads((self.path / name).read_text("utf-8"))
        except FileNotFoundError:
            raise StateError(
                f"{self.path} has no {name}: restore it, or, if the run was cut short, go on with "
                f"sixfold resume {self.path}."
            ) from None
        except (OSError, ValueError) as error:
            raise StateError(f"{self.path / name} cannot be read: {error}.") from error

    def manifest(self) -> dict[str, Any]:
        """manifest.json.

        Raises:
            StateError: it is missing or damaged.
        """
        manifest = self.read_json("manifest.json")
        if not isinstance(manifest, dict) or not isinstance(manifest.get("task"), str):
            raise StateError(f"{self.path / 'manifest.json'} is damaged: it names no task. Restore it or run again.")
        broken = [name for name in ("files", "asked", "versions") if not isinstance(manifest.get(name, {}), dict)]
        if broken:
            what = "checksums" if broken == ["files"] else " and ".join(broken)
            raise StateError(f"{self.path / 'manifest.json'} is damaged: its {what} are gone. Restore it or run again.")
        return manifest

    def identity(self) -> str:
        """What tells this run from any other; stays with a folder that is copied or moved."""
        return str(self.manifest().get("created")) if (self.path / "manifest.json").exists() else ""

    def ending(self) -> str:
        """How a finished run ended.

        Raises:
            StateError: events.jsonl does not say so any more.
        """
        return str(self.last("end")["status"])

    def last(self, event: str) -> dict[str, Any]:
        """The last of these events.

        Raises:
            StateError: there is none, or it is damaged.
        """
        found = self.events(event)
        if not found or not {"status", "best_epoch"} <= found[-1].keys():
            raise StateError(f"{self.path / 'events.jsonl'} is damaged, its line {event!r} is gone: restore it.")
        return found[-1]

    def write_settings(self, text: str) -> None:
        """Put run.yaml into the folder. The manifest knows it by its checksum, and the one before it, so that a crash
        between the two files leaves no doubt."""
        new = hashlib.sha256(text.encode()).hexdigest()
        self.update_manifest(settings=[self.checksum("run.yaml"), new])
        write_bytes(self.settings, text.encode())

    def update_manifest(self, **values: Any) -> None:
        """Add to manifest.json."""
        old = self.manifest() if (self.path / "manifest.json").exists() else {}
        self.write_json("manifest.json", {**old, **values})

    def clear_leftovers(self) -> None:
        """Remove what killed processes left of their writes."""
        for folder in (self.path, *(self.path / name for name in ("state", "model", "figures"))):
            for file in folder.glob(".*") if folder.is_dir() else []:
                if is_left_over(file.name):
                    file.unlink(missing_ok=True)

    @property
    def is_new(self) -> bool:
        """Whether nothing has begun in the folder: at most a process died there before its settings were written."""
        names = {entry.name for entry in self.path.iterdir() if not is_left_over(entry.name)}
        return names <= {"lock", "manifest.json"}

    def checksum(self, name: str) -> str | None:
        """sha256 of one file of the folder; None where it is missing."""
        file = self.path / name
        return _sha256(file) if file.is_file() else None

    def checksums(self) -> dict[str, str]:
        """sha256 of every file that a finished run keeps."""
        skipped = {self.path / name for name in ("manifest.json", "lock")}
        files = sorted(f for f in self.path.rglob("*") if f.is_file() and f not in skipped and not is_left_over(f.name))
        return {str(f.relative_to(self.path)): _sha256(f) for f in files}


def open_run(folder: str | None, task: str, config_text: str) -> Run:
    """The folder of a run that is about to start, made where it does not exist."""
    if folder is None:
        short = hashlib.sha256(config_text.encode()).hexdigest()[:6]
        started = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = _unused(Path("runs") / task / f"{started}-{short}")
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".write.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"run_dir: {path} cannot be written ({error.strerror}): choose another with --run-dir."
        ) from error
    return Run(path)


def find_run(folder: Path) -> Run:
    """An existing run folder that holds a model.

    Raises:
        StateError: it is none, or its run was cut short.
    """
    if not folder.is_dir():
        raise StateError(f"there is no run folder {folder}.")
    run = Run(folder)
    if not run.settings.is_file():
        raise StateError(f"{folder} is no run folder: it has no run.yaml.")
    return run


def start_manifest(task: str, path: Path, command: list[str], seed: int, device: str) -> dict[str, Any]:
    """What is known of a run before it begins."""
    return {
        "task": task,
        "name": path.name,
        "created": _now(),
        "command": command,
        "seed": seed,
        "device": device,
        "versions": versions(task),
        "git": _git_revision(),
        "machine": {"system": platform.platform(), "processor": processor(), "cores": os.cpu_count()},
    }


def _unused(folder: Path) -> str:
    places = (folder if n == 1 else folder.with_name(f"{folder.name}-{n}") for n in range(1, 1000))
    return str(next(place for place in places if not place.exists()))


def versions(task: str) -> dict[str, str]:
    """Of Python and of the packages that decide a result, the task's own among them."""
    found = {"python": platform.python_version()}
    for package in filter(None, (*_PACKAGES, registry.distribution(task))):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _git_revision() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _parse(line: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) and isinstance(parsed.get("event"), str) else None


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as JSON."""
    convert: Callable[[], Any] | None = getattr(value, "tolist", None)
    if convert is None:
        raise TypeError(f"{type(value).__name__} is no JSON value")
    return convert()
