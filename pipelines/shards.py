"""A prediction in parts that are computed independently, and put together in order. Imports no TensorFlow.

The parts of OUTPUT lie in OUTPUT.parts: for each a file of records, one of those among them that are errors and, once
both are whole, a JSON file that says so.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipelines.errors import ConfigError, DataError, StateError
from pipelines.state import replacing, write_bytes

_KEYS = {"shard", "shards", "batches", "records", "bad", "bytes", "bad_bytes", "max_bad", "of"}


@dataclass(frozen=True)
class Shard:
    """One of `count` parts; the first is 0."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """'3/64'. Raises ConfigError."""
        found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
        if not found or not int(found[1]) < int(found[2]):
            raise ConfigError(f"--shard takes INDEX/COUNT, from 0/64 to 63/64 where there are 64, not {text!r}.")
        return cls(int(found[1]), int(found[2]))

    def span(self, batches: int) -> tuple[int, int]:
        """Its batches: from the first, to before the second."""
        return self.index * batches // self.count, (self.index + 1) * batches // self.count

    def part(self, output: Path) -> Path:
        """Where its records lie."""
        return parts_of(output) / f"part-{self.index:05}-of-{self.count:05}"

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parts_of(output: Path) -> Path:
    """The folder of the parts of a file."""
    return output.with_name(f"{output.name}.parts")


def bad_of(file: Path) -> Path:
    """Where the records with an error, of those in a file, lie as JSON lines too."""
    return file.with_name(f"{file.stem}.bad.jsonl")


def make_folder(output: Path) -> None:
    """Make the folder of the parts. Raises ConfigError where that cannot be."""
    folder = parts_of(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"output: {folder} cannot be written ({error.strerror}): choose another.") from error


def made_of(run: str, inputs: Sequence[str], options: Mapping[str, Any], format: str) -> dict[str, Any]:
    """What tells one prediction from another: the run's identity, the inputs as they are now, the options."""
    files = []
    for path in inputs:
        about = os.stat(path) if os.path.isfile(path) else None
        files.append([path, about.st_size, about.st_mtime_ns] if about else [path])
    told = {"run": run, "inputs": files, "options": dict(options), "format": format}
    return dict(json.loads(json.dumps(told, default=str)))


def is_there(shard: Shard, output: Path, of: Mapping[str, Any]) -> bool:
    """Whether a part is whole already.

    Raises:
        ConfigError: it is one of another prediction.
    """
    about = _about(shard.part(output))
    if about is None:
        return False
    if about["of"] != of:
        changed = ", ".join(name for name in of if about["of"].get(name) != of[name])
        raise ConfigError(
            f"{parts_of(output)} holds parts of another prediction ({changed} differ): remove the folder."
        )
    return True


def wanted(output: Path, count: int, of: Mapping[str, Any]) -> list[Shard]:
    """Of so many parts those that are not there yet.

    Raises:
        ConfigError: there are parts of another prediction, or of another number.
    """
    numbers = {int(file.stem[-5:]) for file in parts_of(output).glob(f"part-*-of-{'[0-9]' * 5}.json")}
    if numbers - {count}:
        raise ConfigError(
            f"{parts_of(output)} holds some of {min(numbers - {count})} parts: give --shards {min(numbers - {count})} "
            "to go on, or remove the folder."
        )
    every = (Shard(index, count) for index in range(count))
    return [shard for shard in every if not is_there(shard, output, of)]


def finish(shard: Shard, output: Path, about: Mapping[str, Any]) -> None:
    """Say that a part, whose records are written, is whole."""
    part = shard.part(output)
    sizes = {"bytes": part.stat().st_size, "bad_bytes": bad_of(part).stat().st_size}
    told = {"shard": shard.index, "shards": shard.count, **sizes, **about}
    write_bytes(_told_by(part), json.dumps(told).encode())


def missing(output: Path) -> list[str]:
    """The parts that are not there yet, as 'INDEX/COUNT'."""
    found = _parts(output)
    count = found[0]["shards"]
    there = {one["shard"] for one in found}
    return [f"{index}/{count}" for index in range(count) if index not in there]


def merge(output: Path, *, again: bool = True) -> tuple[int, int]:
    """Put all parts together, in order, in one step; the records with an error also by themselves.

    Args:
        again: also where that was done since the last part was made.

    Returns: how many records there are, and how many of them are errors.

    Raises:
        StateError: parts are missing, damaged, or of several predictions.
        DataError: the share of bad inputs is above what --max-bad allows; the records are merged all the same.
    """
    found = sorted(_parts(output), key=lambda one: one["shard"])
    if gone := missing(output):
        more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
        raise StateError(
            f"{parts_of(output)} has {len(found)} of {found[0]['shards']} parts: predict --shard "
            f"{', '.join(gone[:5])}{more} first."
        )
    if any((one["of"], one["batches"]) != (found[0]["of"], found[0]["batches"]) for one in found):
        raise StateError(f"{parts_of(output)} holds parts of several predictions: remove the folder and predict again.")
    parts = [Shard(one["shard"], one["shards"]).part(output) for one in found]
    if again or not (_is_of(output, parts) and _is_of(bad_of(output), [bad_of(part) for part in parts])):
        _join(map(bad_of, parts), bad_of(output))
        _join(parts, output)
    records, bad = (sum(one[name] for one in found) for name in ("records", "bad"))
    most = found[0]["max_bad"]
    if records and bad / records > most:
        raise DataError(
            f"{bad} of {records} inputs could not be read, more than --max-bad {most:g} allows: their records in "
            f"{output} say why."
        )
    return records, bad


def _told_by(part: Path) -> Path:
    """The file that says that a part is whole."""
    return part.with_name(f"{part.name}.json")


def _is_of(together: Path, files: Sequence[Path]) -> bool:
    """Whether a file is as long as these are together, and younger."""
    if not together.is_file():
        return False
    whole, parts = together.stat(), [file.stat() for file in files]
    return whole.st_size == sum(one.st_size for one in parts) and whole.st_mtime_ns >= max(
        one.st_mtime_ns for one in parts
    )


def _join(files: Iterable[Path], together: Path) -> None:
    with replacing(together) as aside, aside.open("wb") as whole:
        for file in files:
            with file.open("rb") as part:
                shutil.copyfileobj(part, whole, 1 << 20)


def _parts(output: Path) -> list[dict[str, Any]]:
    folder = parts_of(output)
    files = [file.with_suffix("") for file in sorted(folder.glob("part-*-of-*.json"))]
    if not files:
        raise StateError(f"there are no parts in {folder}: predict with --output {output} and --shard first.")
    found = []
    for file in files:
        if (about := _about(file)) is None:
            raise StateError(f"{file} is damaged: remove it and its .json, and predict that shard again.")
        found.append(about)
    if len({one["shards"] for one in found}) > 1:
        raise StateError(f"{folder} holds parts of several numbers of shards: remove those that are not wanted.")
    return found


def _about(part: Path) -> dict[str, Any] | None:
    """What is known of a part; None where it is not whole."""
    try:
        about = json.loads(_told_by(part).read_text("utf-8"))
        if not about.keys() >= _KEYS:
            return None
        sizes = (part.stat().st_size, bad_of(part).stat().st_size)
        return about if sizes == (about["bytes"], about["bad_bytes"]) else None
    except (OSError, ValueError, AttributeError):
        return None
