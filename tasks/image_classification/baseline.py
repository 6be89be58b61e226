"""The classical model beside the network: logistic regression on pixels, or on what a pretrained backbone sees."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipelines import scoring
from pipelines.baselines import fitted, log_probabilities
from pipelines.task import Baseline, Data, Frozen, Predictor, Raw, Record, Store
from tasks.image_classification import multilabel
from tasks.image_classification.answers import answer
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
        from tasks.image_classification.encoding import pixels

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
        from tasks.image_classification.encoding import pixels

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
