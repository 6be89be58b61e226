"""A prediction as a pipeline of Apache Beam: its parts, each wherever Beam computes it. Imports no TensorFlow.

What travels through the pipeline are the numbers of the parts. Records go from the workers to the folder of the parts,
which they and this process see.
"""

import io
import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import SwitchingDirectRunner as DirectRunner
from apache_beam.utils.shared import Shared

from pipelines import errors
from pipelines.errors import ConfigError, SixfoldError, WorkerLost
from pipelines.prediction import Parts
from pipelines.shards import Shard, make_folder, parts_of, wanted
from pipelines.state import write_bytes

_QUIET = "--default_sdk_harness_log_level=WARNING"
"""What workers say in passing is left out, unless the options ask for it."""


class PredictPart(beam.DoFn):
    """The number of a part -> the numbers of its records and of the bad ones among them. A worker holds one model.

    What nothing but a person can mend is no exception, which Beam would try again: it is written to the folder of the
    parts, and the parts that come after it are left alone.
    """

    def __init__(self, about: dict[str, Any], shards: int) -> None:
        super().__init__()
        self._about, self._shards, self._shared = about, shards, Shared()

    def setup(self) -> None:
        """Take what the threads of a worker share."""
        self._parts = self._shared.acquire(lambda: Parts(**self._about))

    def process(self, index: int) -> Iterator[tuple[int, int]]:
        """Predict one part."""
        output = self._about["output"]
        if any(_refusals(output)):
            return
        shard = Shard(index, self._shards)
        try:
            counts = self._parts.predict(shard)
        except SixfoldError as error:
            told = json.dumps([type(error).__name__, str(error)])
            write_bytes(parts_of(output) / f"refused-{index:05}.json", told.encode())
            return
        yield counts.records, counts.bad


def predict(about: dict[str, Any], *, shards: int, options: Sequence[str]) -> int:
    """Predict the parts that are not there yet.

    Args:
        about: the arguments of `Parts`.
        options: Beam's own, as '--runner=FlinkRunner'.

    Returns: how many parts were missing.

    Raises:
        ConfigError: an option is wrong, or the folder holds parts of another prediction.
        SixfoldError: what a worker met, in its own class.
    """
    output = about["output"]
    pipeline = _pipeline(options)
    left = wanted(output, shards, Parts(**about).made_of())
    if not left:
        return 0
    make_folder(output)
    for old in _refusals(output):
        old.unlink()
    with _watched(), pipeline:
        numbers = pipeline | "Parts" >> beam.Create([shard.index for shard in left])
        numbers | "Spread" >> beam.Reshuffle() | "Predict" >> beam.ParDo(PredictPart(about, shards))
    for refusal in _refusals(output):
        name, sentence = json.loads(refusal.read_text("utf-8"))
        raise errors.named(name, sentence)
    return len(left)


@contextmanager
def _watched() -> Iterator[None]:
    """End this process where a worker process of the DirectRunner was killed, which would else be waited for for ever.
    Beam tells of it by an exception in the thread that started the worker."""
    before = threading.excepthook

    def hook(raised: threading.ExceptHookArgs) -> None:
        if raised.thread is None or raised.thread.name != "run_worker":
            before(raised)
            return
        sentence = f"a worker was lost ({raised.exc_value}): give the same command again to go on."
        os.write(2, f"{sentence}\n".encode())
        os._exit(WorkerLost.exit_code)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _refusals(output: Path) -> Iterator[Path]:
    return parts_of(output).glob("refused-*.json")


def _pipeline(given: Sequence[str]) -> Any:
    """An empty one, on the runner that the options name.

    Raises:
        ConfigError: Beam does not take them.
    """
    logging.basicConfig()  # Beam would do it below, and write to what is redirected there
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            # Without triggers none is unsafe. But with this the DirectRunner computes here and now, where it would
            # first try to download a runner: https://github.com/apache/beam/issues/33623
            options = PipelineOptions([_QUIET, *given], allow_unsafe_triggers=True)
            unknown = options.get_all_options(retain_unknown_options=True).keys() - options.get_all_options().keys()
            pipeline = beam.Pipeline(options=options)
            # Others learn their options from a job server.
            if unknown and isinstance(pipeline.runner, DirectRunner):
                raise ValueError(f"the DirectRunner has no {', '.join(sorted(unknown))}")
            return pipeline
    except (Exception, SystemExit) as error:
        lines = said.getvalue().strip().splitlines() or str(error).splitlines() or [type(error).__name__]
        raise ConfigError(f"--beam {' '.join(given)}: Beam refuses that ({lines[-1]}).") from error
