"""Predicting: any number of inputs in, records out in order, memory flat; a broken input becomes a record with an
error."""

import csv
import itertools
import json
import os
import secrets
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import numpy as np

from pipelines.errors import ConfigError, DataError
from pipelines.raw import count_of, rows_of
from pipelines.runs import find_run
from pipelines.shards import Shard, bad_of, finish, is_there, made_of, make_folder
from pipelines.task import Encoder, Predictor, Raw, Record, Table

if TYPE_CHECKING:
    from pipelines.artefact import Loaded

Output = TypeVar("Output")
_AHEAD = 4
"""Batches that are decoded ahead of the model."""
_REFUSABLE = ("path", "text", "name")
"""The columns of what people name or give."""


@dataclass(frozen=True)
class Counts:
    """How many records were written, and how many of them are errors."""

    records: int
    bad: int


def predict(
    run_dir: Path,
    inputs: list[str],
    *,
    output: Path | None,
    format: str,
    options: dict[str, Any],
    max_bad: float,
    shard: Shard | None = None,
) -> Counts:
    """Write a record for each input to a file or standard output; of a shard, for its part of them to a part of the
    file, where that is not there yet.

    Raises:
        StateError: the run folder holds no usable model.
        DataError: the share of bad inputs is above max_bad; the records are written all the same.
    """
    from pipelines.artefact import load_predictor
    from pipelines.config.options import further_inputs

    if shard is not None:
        assert output is not None
        parts = Parts(run_dir, inputs, output=output, format=format, options=options, max_bad=max_bad)
        return parts.predict(shard)
    loaded = load_predictor(run_dir, options)
    with _opened(output) as file:
        batches = loaded.task.inputs([*inputs, *further_inputs(options)], loaded.config, loaded.assets)
        counts = _write(loaded, loaded.predictor(batches), file, format)
    if counts.records and counts.bad / counts.records > max_bad:
        raise DataError(
            f"{counts.bad} of {counts.records} inputs could not be read, more than --max-bad {max_bad:g} allows: "
            "their records say why."
        )
    return counts


class Parts:
    """A prediction that is made in parts: the model is loaded, and the inputs are counted, once and not before a part
    needs it. The arguments are those of `predict`."""

    def __init__(
        self,
        run_dir: Path,
        inputs: list[str],
        *,
        output: Path,
        format: str,
        options: dict[str, Any],
        max_bad: float,
    ) -> None:
        from pipelines.config.options import further_inputs

        self._run_dir, self._output, self._format = run_dir, output, format
        self._inputs, self._options, self._max_bad = [*inputs, *further_inputs(options)], options, max_bad
        self._lock = threading.Lock()

    def made_of(self) -> dict[str, Any]:
        """What tells this prediction from another, as things are now."""
        return made_of(find_run(self._run_dir).identity(), self._inputs, self._options, self._format)

    def predict(self, shard: Shard) -> Counts:
        """Predict one part where it is not there yet. Whole batches are shared out, so that the records are those of
        one process. Several threads wait for each other."""
        with self._lock:
            of = self.made_of()
            if is_there(shard, self._output, of):
                return Counts(0, 0)
            first, end = shard.span(self._batches)
            records = self._loaded.predictor(itertools.islice(self._read(), first, end))
            make_folder(self._output)
            part, header = shard.part(self._output), shard.index == 0
            with _opened(part) as file, whole_file(bad_of(part)) as aside:
                counts = _write(self._loaded, _bad_beside(records, aside), file, self._format, header=header)
            told = {"batches": self._batches, "records": counts.records, "bad": counts.bad, "max_bad": self._max_bad}
            finish(shard, self._output, {**told, "of": of})
            return counts

    @cached_property
    def _loaded(self) -> "Loaded":
        from pipelines.artefact import load_predictor

        return load_predictor(self._run_dir, self._options)

    @cached_property
    def _batches(self) -> int:
        """How many there are of all inputs, which are read for that."""
        return sum(1 for _ in self._read())

    def _read(self) -> Iterator[tuple[list[str], Raw]]:
        return iter(self._loaded.task.inputs(self._inputs, self._loaded.config, self._loaded.assets))


def _bad_beside(records: Iterable[Record], file: TextIO) -> Iterator[Record]:
    """The same records; those with an error are also written to a file."""
    for record in records:
        if record.error is not None:
            file.write(_line(as_json(record)))
        yield record


def _write(loaded: "Loaded", records: Iterable[Record], file: TextIO, format: str, *, header: bool = True) -> Counts:
    if format == "csv":
        return write_table(records, file, loaded.task.table(loaded.config, loaded.assets), header=header)
    return write_records(records, file)


def write_records(records: Iterable[Record], file: TextIO, targets: Sequence[Any] | None = None) -> Counts:
    """JSON lines; with targets, which are the truth about each record, a line has them as `target` after its id."""
    total = bad = 0
    for place, record in enumerate(records):
        total, bad = total + 1, bad + (record.error is not None)
        row = as_json(record) if targets is None else {"id": record.id, "target": targets[place], **as_json(record)}
        file.write(_line(row))
    file.flush()
    return Counts(total, bad)


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def write_table(records: Iterable[Record], file: TextIO, table: Table, *, header: bool = True) -> Counts:
    """CSV with the columns id, the table's, and error; a record with an error is a row with nothing else."""
    total = bad = 0
    writer = csv.DictWriter(file, ["id", *table.columns, "error"], restval="")
    if header:
        writer.writeheader()
    for record in records:
        total, bad = total + 1, bad + (record.error is not None)
        rows = table.rows(record) if record.error is None else [{"error": record.error}]
        writer.writerows({"id": record.id, **row} for row in rows)
    file.flush()
    return Counts(total, bad)


def as_json(record: Record) -> dict[str, Any]:
    """The record as it is written: id, then the answer or the error."""
    return {"id": record.id, **record.answer} if record.error is None else {"id": record.id, "error": record.error}


def batched_predictor(
    encode: Encoder, forward: Callable[[Any], Iterable[Output]], record: Callable[[str, Output], Record]
) -> Predictor:
    """A predictor from a task's encoder, its compiled model, and a function from (id, output of a row) to a record.

    Inputs are encoded in threads ahead of the model. An input that cannot be encoded costs its batch a second pass,
    one by one.
    """
    import tensorflow as tf

    compiled = tf.function(lambda raw: encode(raw, tf.zeros([1], tf.int64))[0], autograph=False, reduce_retracing=True)

    def encode_rows(raw: Raw) -> Any:
        return compiled({name: tf.constant(column) for name, column in raw.items()})

    def encode_batch(raw: Raw) -> tuple[Any, dict[int, str]]:
        refused = {row: why for row in range(count_of(raw)) if (why := _refusal(raw, row)) is not None}
        kept = [row for row in range(count_of(raw)) if row not in refused]
        if not kept:
            return None, refused
        rest = rows_of(raw, np.array(kept)) if refused else raw
        try:
            return encode_rows(rest), refused
        except (tf.errors.OpError, UnicodeDecodeError):  # the latter where a path in the message is not UTF-8
            x, errors = _encode_singly(encode_rows, rest)
            return x, refused | {kept[row]: why for row, why in errors.items()}

    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, (x, errors) in _ahead(encode_batch, batches):
            outputs = iter(forward(x) if len(errors) < len(ids) else ())
            for row, name in enumerate(ids):
                yield Record(name, {}, error=errors[row]) if row in errors else record(name, next(outputs))

    return predict


def _encode_singly(encode_rows: Callable[[Raw], Any], raw: Raw) -> tuple[Any, dict[int, str]]:
    """The rows that can be encoded, all at once, as what they are filled up to depends on the longest; and the reason
    for each that cannot."""
    import tensorflow as tf

    from pipelines.stream import reason

    good, errors = [], {}
    for row in range(count_of(raw)):
        try:
            encode_rows(rows_of(raw, np.array([row])))
            good.append(row)
        except UnicodeDecodeError:
            errors[row] = "it cannot be read, and its name is not UTF-8"
        except tf.errors.OpError as error:
            errors[row] = reason(error)
    return encode_rows(rows_of(raw, np.array(good))) if good else None, errors


def _refusal(raw: Raw, row: int) -> str | None:
    """Why an input was refused before it came here: NUL and the reason stand in its place."""
    for name in _REFUSABLE:
        if name in raw and raw[name][row][:1] == b"\0":
            return str(raw[name][row][1:].decode("utf-8", "replace"))
    return None


def _ahead(function: Callable[[Raw], Any], batches: Iterable[tuple[list[str], Raw]]) -> Iterator[tuple[list[str], Any]]:
    """Apply the function in threads, a few batches ahead, in order."""
    source, waiting = iter(batches), deque[tuple[list[str], Future[Any]]]()
    with ThreadPoolExecutor(min(_AHEAD, os.cpu_count() or 1)) as pool:
        for ids, raw in itertools.islice(source, _AHEAD):
            waiting.append((ids, pool.submit(function, raw)))
        while waiting:
            ids, future = waiting.popleft()
            for following, raw in itertools.islice(source, 1):
                waiting.append((following, pool.submit(function, raw)))
            yield ids, future.result()


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A text file that appears under its name only when it is whole."""
    # By chance, as two containers that write the same file have the same process ids.
    aside = path.with_name(f".{path.name}.{secrets.randbits(48)}")
    try:
        with aside.open("w", encoding="utf-8", errors="replace", newline="") as file:
            yield file
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Standard output or a file."""
    if output is None:
        yield sys.stdout
        return
    # What is no plain file, as /dev/null or a link, is written through, not replaced.
    through = output.is_symlink() or (output.exists() and not output.is_file())
    place = output if through else output.parent
    if not output.parent.is_dir() or output.is_dir() or (place.exists() and not os.access(place, os.W_OK)):
        raise ConfigError(f"output: {output} cannot be written: choose another file with --output.")
    with output.open("w", encoding="utf-8", newline="") if through else whole_file(output) as file:
        yield file
