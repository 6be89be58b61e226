"""Scoring a split with a predictor: the same for the model, its baseline, and a finished run on other data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artefact import as_own, load_predictor
from pipelines.config import RunConfig, load_config
from pipelines.console import Console, one_line
from pipelines.errors import ConfigError, StateError
from pipelines.fingerprints import learned_from
from pipelines.raw import rows_of
from pipelines.scoring import by_group, differences
from pipelines.sources import locate
from pipelines.task import Assets, Baseline, Data, Predictor, Raw, Record, Scores, Store, Task

_ROWS = 256


def some_rows(store: Store, most: int, seed: int) -> np.ndarray:
    """int64, ascending: at most so many of a store's examples, by chance."""
    return np.sort(np.random.default_rng(seed).permutation(len(store))[:most])


@dataclass(frozen=True)
class Some:
    """Some examples of a store."""

    store: Store
    rows: np.ndarray
    """int64: which."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> np.ndarray | None:
        """See Store."""
        return None if self.store.sizes is None else self.store.sizes[self.rows]

    @property
    def groups(self) -> np.ndarray | None:
        """See Store."""
        return None if self.store.groups is None else self.store.groups[self.rows]

    def ids(self, indices: np.ndarray) -> list[str]:
        """See Store."""
        return self.store.ids(self.rows[indices])

    def fetch(self, indices: np.ndarray) -> Raw:
        """See Store."""
        return self.store.fetch(self.rows[indices])


def predict_store(
    predictor: Predictor, store: Store, fetch: Callable[[Store, np.ndarray], Raw] | None = None
) -> list[Record]:
    """A record for every example of a split, in order; `fetch` where the predictor takes something else than the model
    does. Examples of like size are computed together, so that little is padded."""
    take = store.fetch if fetch is None else partial(fetch, store)
    order = np.arange(len(store)) if store.sizes is None else np.lexsort(store.sizes.T)
    batches = (order[start : start + _ROWS] for start in range(0, len(store), _ROWS))
    records = list(predictor((store.ids(indices), take(indices)) for indices in batches))
    return [records[place] for place in np.argsort(order, kind="stable")]


def evaluate(run_dir: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Score a finished run's model again, on its own test split or on other data.

    Args:
        run_dir: the run folder.
        settings: `group_by`, a column to tell scores apart by; `data`, another source (its test split, or all of it
            where it has none), and for it `columns`, by default the run's where the source has columns, `on_bad`, and
            `encoding`.

    Returns: the shape of metrics.json; the run's baselines where the data are its own, else the task's model that
        takes no fitting, if it has one.

    Raises:
        DataError: an example cannot be read, or has a label that the model does not know (on_bad: skip leaves it out).
    """
    loaded = load_predictor(run_dir, {})
    given = {name: value for name, value in settings.items() if value is not None}
    other = "data" in given
    if not other and given.keys() - {"group_by"}:
        raise ConfigError(f"{', '.join(given)}: these say how to read other data; name it with data.")
    config = loaded.config.model_copy(update=given)
    if other:
        has_columns = locate(given["data"], lines=True).kind in ("table", "tables", "tfds", "lines")
        inherited = {"columns": config.columns} if has_columns and config.columns else {}
        config = load_config(loaded.task_name, options={**inherited, **given}, typed=True).config
        # What the task itself knows about reading (several labels an image, say) is as in the run.
        own = type(config).model_fields.keys() - RunConfig.model_fields.keys()
        config = config.model_copy(update={name: getattr(loaded.config, name) for name in own - given.keys()})
    data = loaded.task.load_test(config, loaded.assets) if other else loaded.task.load_data(as_own(config, loaded.run))
    if not other and data.fingerprint != loaded.run.manifest().get("fingerprint"):
        raise StateError(f"{config.data} has changed since the run: name it with --data, to score it as other data.")
    if other and (count := learned_from(run_dir, data)):
        note = f"{count:,} of them stand in the run's training or validation split, so the score flatters the model."
        data = replace(data, protocol=f"{data.protocol} {note}")
    for warning in data.summary.get("warnings", []) if other else []:  # the run has said those of its own
        Console().say(one_line(f"warning: {warning}"))
    store = data.splits["test"]
    records = predict_store(loaded.predictor, store)
    judged = loaded.config.model_copy(update={"group_by": config.group_by})
    scores = judge(loaded.task, records, store, judged, loaded.assets)
    metrics = metrics_json(loaded.task_name, scores, data, len(store))
    if other and loaded.task.naive is not None:
        naive = loaded.task.naive(judged, data)
        records = predict_store(naive.predictor, store, naive.fetch)
        found = judge(loaded.task, records, store, judged, loaded.assets)
        metrics["baseline"] = {"name": naive.name, "note": naive.note, "scores": scores_json(found)["scores"]}
        values = {name: one.value for name, one in found.scores.items()}
        metrics["baseline"] |= difference_json(scores, found.resamples, values)
    if not other:
        known = loaded.run.read_json("metrics.json")
        same = ("baseline", "baselines", "last_epoch")
        metrics |= {"baseline": None} | {key: known[key] for key in same if key in known}
    return metrics


def judge(task: Task, records: Sequence[Record], store: Store, config: Any, assets: Assets) -> Scores:
    """The scores of a split; with group_by also for each group, by the same code."""
    references = task.references(store)
    scores = task.score(records, references, config, assets)
    if "group_by" not in references:
        return scores

    def score(rows: np.ndarray) -> Scores:
        return task.score([records[row] for row in rows], rows_of(references, rows), config, assets)

    groups = by_group(references["group_by"], config.group_by, score)
    return replace(scores, breakdowns={**scores.breakdowns, "by_group": groups})


def metrics_json(task_name: str, scores: Scores, data: Data, examples: int) -> dict[str, Any]:
    """The one shape of metrics.json."""
    about = {
        "task": task_name,
        "split": "test",
        "examples": examples,
        "protocol": data.protocol,
        "headline": scores.headline,
    }
    return {**about, **scores_json(scores)}


def baseline_json(baseline: Baseline, scores: Sequence[Scores]) -> dict[str, Any]:
    """What baseline.json says: the yardstick and the further ones, with the scores of each."""
    pairs = zip((baseline, *baseline.others), scores, strict=True)
    first, *others = ({"name": one.name, "note": one.note, **scores_json(found)} for one, found in pairs)
    return {**first, **({"others": others} if others else {})}


def baselines_json(found: Mapping[str, Any]) -> dict[str, Any]:
    """What metrics.json says of baseline.json: the yardstick as `baseline`, further ones, if any, as `baselines`."""
    first, *others = (
        {key: one[key] for key in ("name", "note", "scores")} for one in (found, *found.get("others", ()))
    )
    return {"baseline": first, **({"baselines": others} if others else {})}


def scores_json(scores: Scores) -> dict[str, Any]:
    """The scores and breakdowns as JSON values."""
    return {
        "scores": {name: asdict(interval) for name, interval in scores.scores.items()},
        "breakdowns": scores.breakdowns,
    }


def difference_json(
    model: Scores, resamples: Mapping[str, np.ndarray], values: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """What metrics.json says, of a baseline of these resamples and values, of the model's difference to it; nothing
    where none was resampled as the model was."""
    found = differences(model, resamples, values)
    return {"difference": {name: asdict(one) for name, one in found.items()}} if found else {}
