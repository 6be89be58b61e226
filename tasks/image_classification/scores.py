"""How image classification is judged: scores, calibration, the baseline on pixels, pictures of what went wrong.

`Record.output` holds logits, float32 [classes], BEFORE the temperature (log-probabilities are logits too).
`Record.answer` shows probabilities AFTER it: `softmax(output, assets.get("temperature", 1.0))`. A baseline is scored
with assets that hold no temperature, so at 1. Images of several labels are judged in `multilabel`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipelines import scoring
from pipelines.baselines import fitted, log_probabilities
from pipelines.labelled.tables import class_table
from pipelines.task import Assets, Baseline, Data, Figure, Frozen, Predictor, Raw, Record, Scores, Store, Table
from tasks.image_classification import multilabel
from tasks.image_classification.config import Config
from tasks.image_classification.networks import PRESET

# The baseline's input: the side of its pixel grid, and how much it may take. Fashion-MNIST as a whole (53,000 images of
# 784 pixels, 10 classes, 100 iterations: 32 s on 2 cores) fits; more classes or larger data are sampled.
_SIDE = {"grey": 28, "rgb": 16}
_MOST_WORK = 60_000 * 784 * 10
_MOST_FILES = 10_000
_MOST_FEATURES = 5_000
_FEWEST = 2_000
_BATCH = 256
_FROZEN_BATCH = 32
_MISTAKES = 24
_VARIED = 12
_EXPLAINED = 6
"""Right answers, and as many wrong ones."""


# ---- answers and scores ----------------------------------------------------------------------------------------


def answer(probabilities: np.ndarray, classes: Sequence[str], k: int) -> dict[str, Any]:
    """What a person reads of probabilities [classes]: the best label, and the k best with theirs."""
    best = np.argsort(-probabilities, kind="stable")[:k]
    top = [{"label": classes[index], "probability": float(probabilities[index])} for index in best]
    return {**top[0], "top_k": top}


def table(config: Config, assets: Assets) -> Table:
    """The same as a row of CSV: the best label, or all that were given, and the probability of every class."""
    if config.multi_label:
        return multilabel.table(config, assets)
    first, temperature = ("label", "probability"), assets.get("temperature", 1.0)
    return class_table(
        first,
        assets["classes"],
        lambda record: {name: record.answer[name] for name in first},
        lambda record: scoring.softmax(np.asarray(record.output), temperature).tolist(),
    )


def targets(references: Raw, assets: Assets) -> list[Any]:
    """The true label of each image; where it may have several, a list of them."""
    if references["label"].ndim == 2:
        return multilabel.targets(references, assets)
    return [assets["classes"][label] for label in references["label"].tolist()]


def calibrate(config: Config, assets: Assets, records: Sequence[Record], references: Raw) -> Assets:
    """The assets with the temperature that fits the validation split; of several labels, with their thresholds."""
    if config.multi_label:
        return multilabel.calibrate(assets, _logits(records, references), references)
    return {**assets, "temperature": scoring.fit_temperature(_logits(records, references), references["label"])}


def score(records: Sequence[Record], references: Raw, config: Config, assets: Assets) -> Scores:
    """Accuracy (the headline), top-k accuracy, macro F1, log loss and ECE with their intervals; figures by class."""
    if config.multi_label:
        return multilabel.score(_logits(records, references), references, config, assets)
    return scoring.classification_scores(
        _logits(records, references),
        references["label"],
        assets["classes"],
        temperature=assets.get("temperature", 1.0),
        k=config.top_k,
        seed=config.seed,
    )


def _logits(records: Sequence[Record], references: Raw) -> np.ndarray:
    return scoring.outputs_of(records, len(references["label"]), "image")


# ---- the baseline ----------------------------------------------------------------------------------------------


def baseline(config: Config, data: Data, frozen: Frozen | None = None) -> Baseline:
    """Logistic regression (scikit-learn, lbfgs) on what the untouched pretrained backbone makes of the train split;
    where there is none, on the standardised pixels of a small grid."""
    from tasks.image_classification.data import references

    store, classes = data.splits["train"], data.assets["classes"]
    look = _Grid(config) if frozen is None else _Backbone(config, frozen)
    indices = _sample(store, look, len(classes), config.seed)
    features = look.features(store, indices)
    labels = references(store)["label"][indices]
    note = look.note
    if config.multi_label:
        several = multilabel.OneForEach(features, labels, config.baseline_iterations)
        valid = data.splits["valid"]
        several.tune(look.features(valid, np.arange(len(valid))), references(valid)["label"])
        note += "; one regression for each class, its threshold tuned on validation"
        capped, answers = several.capped, _several_answers(several, classes, config.top_k)
    else:
        model, capped = fitted(_regression(config.baseline_iterations), features, labels)
        answers = _answers(model, classes, config.top_k)
    if len(indices) < len(store):
        note += f"; fitted to {len(indices):,} of {len(store):,} training images, chosen by the seed"
    if capped:
        note += f"; stopped at {config.baseline_iterations} iterations, before it converged"
    return Baseline(f"logistic regression on {look.name}", _baseline_predictor(answers, look), note)


class _Look(Protocol):
    """What a baseline sees of an image."""

    name: str
    note: str
    most: int
    """Images to be fitted to at most, for what decoding and computing them costs."""

    def width(self, store: Store) -> int:
        """Features of an image."""

    def features(self, store: Store, indices: np.ndarray) -> np.ndarray:
        """Float32 [images, features]."""


class _Grid:
    """Pixels in 0..1 of a small grid, by way of the task's own decoding and resizing."""

    name, most = "pixels", _MOST_FILES

    def __init__(self, config: Config) -> None:
        self._config = config
        largest = _SIDE["grey" if config.color == "grey" else "rgb"]
        self._side = min(config.image_size or largest, largest)
        self.note = f"pixels at {self._side}x{self._side}"

    def width(self, store: Store) -> int:
        return self._side**2 * (1 if self._config.color == "grey" else 3)

    def features(self, store: Store, indices: np.ndarray) -> np.ndarray:
        from tasks.image_classification.pixels import pixels

        found = np.empty((len(indices), self.width(store)), np.float32)
        filled = 0
        for images in pixels(store, _in_batches(indices, _BATCH), self._config, self._side):
            found[filled : filled + len(images)] = images.reshape(len(images), -1) / np.float32(255)
            filled += len(images)
        return found


class _Backbone:
    """The features of a pretrained network as it was before this training."""

    name, most = "frozen features", _MOST_FEATURES

    def __init__(self, config: Config, frozen: Frozen) -> None:
        self._config, self._frozen = config, frozen
        self.note = f"of {config.pretrained if config.backbone == PRESET else config.backbone} as pretrained"

    def width(self, store: Store) -> int:
        return int(self.features(store, np.arange(1)).shape[1])

    def features(self, store: Store, indices: np.ndarray) -> np.ndarray:
        from tasks.image_classification.pixels import pixels

        assert self._config.image_size is not None
        images = pixels(store, _in_batches(indices, _FROZEN_BATCH), self._config, self._config.image_size)
        return np.concatenate([self._frozen(batch) for batch in images])


def _in_batches(indices: np.ndarray, size: int) -> list[np.ndarray]:
    return np.split(indices, range(size, len(indices), size))


def _sample(store: Store, look: _Look, classes: int, seed: int) -> np.ndarray:
    """Indices of the images to fit, ascending. Files cost their decoding besides, and features their computation."""
    most = max(_FEWEST, _MOST_WORK // (look.width(store) * classes))
    if "pixels" not in store.fetch(np.arange(1)) or isinstance(look, _Backbone):
        most = min(most, look.most)
    if len(store) <= most:
        return np.arange(len(store))
    return np.sort(np.random.default_rng(seed).permutation(len(store))[:most])


def _regression(iterations: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(copy=False), LogisticRegression(max_iter=iterations))


_Answers = Callable[[list[str], np.ndarray], Iterator[Record]]
"""(ids, features [images, pixels]) -> records."""


def _answers(model: Any, classes: Sequence[str], k: int) -> _Answers:
    def answers(ids: list[str], features: np.ndarray) -> Iterator[Record]:
        for name, logits in zip(ids, log_probabilities(model, features, len(classes)), strict=True):
            yield Record(name, answer(scoring.softmax(logits), classes, k), logits)

    return answers


def _several_answers(model: multilabel.OneForEach, classes: Sequence[str], k: int) -> _Answers:
    thresholds = [scoring.UNTUNED] * len(classes)

    def answers(ids: list[str], features: np.ndarray) -> Iterator[Record]:
        for name, logits in zip(ids, model.logits(features), strict=True):
            yield Record(name, multilabel.answer(scoring.sigmoid(logits), classes, thresholds, k), logits)

    return answers


def _baseline_predictor(answers: _Answers, look: _Look) -> Predictor:
    def predict(batches: Iterable[tuple[list[str], Raw]]) -> Iterator[Record]:
        for ids, raw in batches:
            if ids:
                yield from answers(ids, look.features(_Rows(ids, raw), np.arange(len(ids))))

    return predict


@dataclass(frozen=True)
class _Rows:
    """One batch as a store, so that a predictor's input goes through the same decoding as a split."""

    names: list[str]
    raw: Raw
    sizes: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    def ids(self, indices: np.ndarray) -> list[str]:
        return [self.names[index] for index in indices]

    def fetch(self, indices: np.ndarray) -> Raw:
        return {name: column[indices] for name, column in self.raw.items()}


# ---- pictures --------------------------------------------------------------------------------------------------


def figures(
    records: Sequence[Record], references: Raw, config: Config, assets: Assets, store: Store, model: Any
) -> list[Figure]:
    """What became of the test images, where in them the model saw it, and how training images are varied."""
    from tasks.image_classification import grad_cam

    logits = _logits(records, references)
    judged, chosen = (multilabel.figures, multilabel.telling) if config.multi_label else (_judged, _telling)
    return [
        *judged(logits, references, config, assets, store),
        *grad_cam.figures(model, chosen(logits, references["label"], assets, _EXPLAINED), config, store),
        *_variations(config, assets, store),
    ]


def _judged(logits: np.ndarray, references: Raw, config: Config, assets: Assets, store: Store) -> list[Figure]:
    """The confusion matrix, the reliability diagram, the most confident mistakes, F1 by class."""
    from pipelines.report import charts

    labels, classes = references["label"], assets["classes"]
    temperature = assets.get("temperature", 1.0)
    judged, before = scoring.outcomes(logits, labels, temperature), scoring.outcomes(logits, labels)
    correct = judged.predicted == labels
    confusion = scoring.confusion_matrix(labels, judged.predicted, len(classes))
    drawn = [
        charts.confusion(confusion, classes),
        charts.reliability(before.confidence, judged.confidence, correct, temperature),
        charts.class_bars(scoring.per_class(confusion, classes)),
    ]
    wrong = np.flatnonzero(~correct)
    worst = wrong[np.argsort(-judged.confidence[wrong], kind="stable")[:_MISTAKES]]
    if len(worst):
        drawn.insert(2, _mistakes(worst, judged, references["label"], config, classes, store))
    return drawn


def _telling(logits: np.ndarray, labels: np.ndarray, assets: Assets, most: int) -> list[tuple[int, int, str]]:
    """The most confident right answers, then the most confident mistakes, so many of each: the image, the class that
    was predicted, and both in words."""
    from pipelines.report import charts

    judged, names = scoring.outcomes(logits, labels, assets.get("temperature", 1.0)), assets["classes"]
    correct, surest = judged.predicted == labels, np.argsort(-judged.confidence, kind="stable")
    found = []
    for index in [*surest[correct[surest]][:most].tolist(), *surest[~correct[surest]][:most].tolist()]:
        answer = int(judged.predicted[index])
        truth = "" if correct[index] else f"{charts.shorten(names[labels[index]])} → "
        verdict = "right" if correct[index] else "wrong"
        words = f"{truth}{charts.shorten(names[answer])}\n{verdict}, {judged.confidence[index]:.1%}"
        found.append((index, answer, words))
    return found


def _mistakes(
    worst: np.ndarray,
    judged: scoring.Outcomes,
    labels: np.ndarray,
    config: Config,
    classes: Sequence[str],
    store: Store,
) -> Figure:
    from pipelines.report import charts
    from tasks.image_classification.pixels import pixels

    images = np.concatenate(list(pixels(store, [worst], config, config.image_size or 96)))
    captions = [
        f"{charts.shorten(classes[labels[index]])} → {charts.shorten(classes[judged.predicted[index]])}\n"
        f"{judged.confidence[index]:.1%}"
        for index in worst
    ]
    return charts.pictures(
        images,
        captions,
        name="mistakes",
        title="The most confident mistakes",
        caption="True class → predicted class, and the probability the model gave to its answer.",
    )


def _variations(config: Config, assets: Assets, store: Store) -> list[Figure]:
    """A few images as training would vary them; nothing where it does not."""
    from pipelines.report import charts
    from tasks.image_classification.pixels import varied

    named = {name: getattr(config, name) for name in ("augment", "rand_augment", "erasing", "mixup", "cutmix")}
    used = ", ".join(f"{name} {value}" for name, value in named.items() if value not in (None, 0, "none"))
    if not used:
        return []
    indices = np.unique(np.linspace(0, len(store) - 1, _VARIED).astype(np.int64))
    images, shares = varied(store, indices, config, assets)
    captions = [_shares(row, assets["classes"]) for row in shares]
    caption = f"Test images, varied as training varies its own: {used}."
    title = "How training images are varied"
    return [charts.pictures(images, captions, name="variations", title=title, caption=caption)]


def _shares(row: np.ndarray, classes: Sequence[str]) -> str:
    """'ant 70%\\nbee 30%'; the two largest, their shares where they are mixed."""
    from pipelines.report import charts

    order = [int(index) for index in np.argsort(-row, kind="stable")[:2] if row[index] >= 0.005]
    mixed = any(row[index] < 0.995 for index in order)
    return "\n".join(charts.shorten(classes[index]) + (f" {row[index]:.0%}" if mixed else "") for index in order)
