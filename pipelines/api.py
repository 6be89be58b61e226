"""The Python interface: as short as the command line, with the same keys. Importing it loads no TensorFlow."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipelines.errors import ConfigError
from pipelines.result import Result

__all__ = ["Result", "evaluate", "export", "predict", "resume", "run"]


def run(task: str, *, recipe: str | None = None, config: str | Path | None = None, **settings: Any) -> Result:
    """Run a task end to end, as `sixfold run TASK --key value …` does.

    Args:
        task: as listed by `sixfold tasks`.
        recipe: a named recipe of the task.
        config: a YAML file of settings, for instance another run's run.yaml.
        settings: single settings, over all of those.

    Raises:
        pipelines.errors.SixfoldError: what is wrong, where, and what to do.
    """
    from pipelines.config import load_config

    _check_chief()
    loaded = load_config(task, recipe=recipe, file=config, options=settings)
    from pipelines.engine import execute

    words = ["pipelines.run", task, *(f"{key}={value}" for key, value in settings.items())]
    result = execute(task, loaded.config, words)
    assert result is not None
    return result


def resume(folder: str | Path, **changes: Any) -> Result:
    """Go on with a run that was stopped or killed; what comes out is what would have come out.

    Args:
        folder: the run's.
        changes: settings that may be others from here on, as epochs (upwards), device, save_every.

    Raises:
        pipelines.errors.SixfoldError: what is wrong, where, and what to do.
    """
    from pipelines.engine import resume as go_on

    _check_chief()
    words = ["pipelines.resume", str(folder), *(f"{k}={v}" for k, v in changes.items())]
    result = go_on(Path(folder), changes, words)
    assert result is not None
    return result


def _check_chief() -> None:
    from pipelines.workers import place

    if not place().is_chief:
        raise ConfigError(
            "TF_CONFIG: of several workers only the chief has a result to return: start them all by the command, "
            "sixfold run or sixfold launch."
        )


def evaluate(folder: str | Path, **settings: Any) -> dict[str, Any]:
    """Score a finished run again, on its own test split or on other data (data=…, columns=…): the content of
    metrics.json."""
    from pipelines.evaluation import evaluate as score

    return score(Path(folder), settings)


def predict(folder: str | Path, inputs: Iterable[str | Path] = (), **options: Any) -> Iterator[dict[str, Any]]:
    """A record for each input (files, folders, tables), in order; a broken one has an `error`. Texts are UTF-8 where no
    `encoding` is given, whatever those of the run were in. Options are those of the command line, by name."""
    from pipelines.artefact import load_predictor
    from pipelines.config.options import further_inputs
    from pipelines.prediction import as_json

    loaded = load_predictor(Path(folder), {"encoding": "utf-8", **options})
    named = [*map(str, inputs), *further_inputs(options)]
    records = loaded.predictor(loaded.task.inputs(named, loaded.config, loaded.assets))
    return (as_json(record) for record in records)


def export(folder: str | Path, formats: Iterable[str] = ("saved-model",), examples: int = 1000) -> dict[str, Any]:
    """A finished run's model in these formats, in its folder export/: the content of parity.json.

    Args:
        folder: the run's.
        formats: of saved-model, litert, litert-int8, onnx, keras.
        examples: of the test split, at most, that each is tried on.

    Raises:
        pipelines.errors.SixfoldError: what is wrong, where, and what to do.
    """
    from pipelines.exports.writing import export as write

    return write(Path(folder), list(formats), examples, lambda line: None)
