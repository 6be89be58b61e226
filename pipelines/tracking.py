"""tensorboard/ in the run folder: the scalars of a run as TensorBoard reads them, made from the run's own ledger."""

import errno
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from pipelines.runs import Run

_FOLDER = "tensorboard"


class Tracking:
    """The event files of a run: written from its ledger, then along with it, so that what a run that goes on trains
    again stands in them once.

    A folder each for train and valid (by epoch), steps, pretraining, and test.
    """

    def __init__(self, run: Run) -> None:
        self._folder, self._run = run.path / _FOLDER, run
        self._writers: dict[str, Any] = {}

    def begin(self) -> None:
        """Write all that the ledger holds, in place of what was written before."""
        self.close()
        for old in self._folder.glob("*/*tfevents*"):
            old.unlink()
        for event in self._run.events():
            self.add(event)

    def add(self, event: Mapping[str, Any]) -> None:
        """What one event of the ledger says in numbers."""
        when = datetime.fromisoformat(event["time"]).timestamp()
        if event["event"] == "epoch":
            for split in ("train", "valid"):
                self._write(split, event["step"], when, event.get(split) or {})
        elif event["event"] == "pretraining":
            self._write("pretraining", event["step"], when, event.get("train") or {})
        elif event["event"] == "step":
            self._write("steps", event["step"], when, {name: event[name] for name in event.keys() - {"step", "epoch"}})

    def add_test(self, scores: Mapping[str, Mapping[str, Any]]) -> None:
        """The scores of the test split, at the last step that was trained."""
        shutil.rmtree(self._folder / "test", ignore_errors=True)
        step = max((event["step"] for event in self._run.events("epoch")), default=0)
        self._write("test", step, time.time(), {name: score["value"] for name, score in scores.items()})
        self.close()

    def close(self) -> None:
        """The files are whole."""
        writers, self._writers = self._writers, {}
        for writer in writers.values():
            with self._refusals():
                writer.close()

    def _write(self, folder: str, step: int, when: float, values: Mapping[str, Any]) -> None:
        import tensorflow as tf

        numbers = {name: float(value) for name, value in sorted(values.items()) if isinstance(value, int | float)}
        if not numbers:
            return
        value = tf.compat.v1.Summary.Value
        summary = tf.compat.v1.Summary(value=[value(tag=name, simple_value=one) for name, one in numbers.items()])
        event = tf.compat.v1.Event(wall_time=when, step=step, summary=summary)
        with self._refusals():
            if folder not in self._writers:
                self._writers[folder] = self._opened(folder, when)
            self._writers[folder].write(event.SerializeToString())
            self._writers[folder].flush()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What the system refuses is an OSError, as of all other files, and none of TensorFlow's."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            full = isinstance(error, tf.errors.ResourceExhaustedError)
            raise OSError(errno.ENOSPC if full else errno.EIO, error.message, str(self._folder)) from error

    def _opened(self, folder: str, when: float) -> Any:
        import tensorflow as tf

        place = self._folder / folder
        place.mkdir(parents=True, exist_ok=True)
        # A new name each time, and the start of a session: a TensorBoard that looks on forgets what it read before.
        writer = tf.io.TFRecordWriter(str(place / f"events.out.tfevents.{time.time():.3f}.sixfold"))
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        for event in (
            tf.compat.v1.Event(wall_time=when, file_version="brain.Event:2"),
            tf.compat.v1.Event(wall_time=when, step=0, session_log=start),
        ):
            writer.write(event.SerializeToString())
        return writer
