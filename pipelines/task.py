"""The contract between the runtime and a task: a record of functions over plain data. Imports no TensorFlow."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    import keras

    from pipelines.served import Serving
    from pipelines.transfer.sources import Origin

Raw = dict[str, np.ndarray]
"""Raw examples of one batch, a column each: [rows, ...]. Ragged columns are `name` (flat values) and `name_splits`
(row splits)."""

Assets = dict[str, Any]
"""Small JSON values that belong to the model (class names, vocabulary, scaler): a file each beside it."""


class Store(Protocol):
    """Random access to the raw examples of one split."""

    def __len__(self) -> int: ...

    @property
    def sizes(self) -> np.ndarray | None:
        """int32 [examples, k]: what batches are costed by (tokens, seconds, window length); None where all cost the
        same."""

    @property
    def groups(self) -> np.ndarray | None:
        """int64 [examples]: what must stay together (speaker, document, series, user)."""

    def ids(self, indices: np.ndarray) -> list[str]:
        """A name for each example by which a person finds it again: a path, or file and row."""

    def fetch(self, indices: np.ndarray) -> Raw:
        """The raw examples at int64 [rows], in that order. One vectorised call."""


@dataclass(frozen=True)
class Data:
    """What load_data gives: the splits, the assets, and what the report says about them."""

    splits: dict[str, Store]
    """train, valid, test."""
    assets: Assets
    summary: dict[str, Any]
    """JSON for the report: source, counts of each split and class, what was skipped, how the split was made."""
    fingerprint: str
    """Hex digest of the content of every example and its split."""
    protocol: str
    """One sentence: which split was scored and how it was made."""
    hashes: dict[str, np.ndarray]
    """uint64 [examples] of each split: of each example's content and truth. By them a changed example is found."""


@dataclass(frozen=True)
class Batching:
    """How examples are put together: one bucket for each bound on the cost, each with its fixed batch size."""

    cost: Callable[[np.ndarray], np.ndarray] | None = None
    """sizes [examples, k] -> cost [examples]; None: one bucket."""
    bounds: tuple[float, ...] = ()
    """Upper bounds of the buckets but the last, ascending."""
    batch_sizes: tuple[int, ...] = (32,)
    """Of each bucket: len(bounds) + 1 numbers."""
    partners: bool = False
    """Whether each training example comes with another, drawn by its key, whose columns are called `partner_...`."""


@dataclass(frozen=True)
class Metric:
    """A mean of per-example values, followed in training. What no mean can give belongs in `score`."""

    function: Callable[[Any, Any], Any]
    """(y, outputs) -> [rows], in keras.ops."""
    higher_is_better: bool = True
    in_training: bool = True
    """Whether the training split shows it too; if not, the model need not compute it while it is trained."""


@dataclass(frozen=True)
class Head:
    """The last layers of a model, one after the other, which depend on what it answers; all the others are its
    backbone."""

    layers: tuple[str, ...]
    """Their names, in order; those that a model does not have are passed over."""
    units: str | None
    """The asset that says what each output stands for, as `classes`; None: they are places in an order, as steps ahead
    are, and the first of one model stands for what the first of another does."""


@dataclass(frozen=True)
class Download:
    """A file of weights that somebody published."""

    name: str
    """Of the file in Keras' cache."""
    url: str
    digest: str | None
    """Its MD5 or SHA-256, in hexadecimal digits, where the publisher names one."""


@dataclass(frozen=True)
class Built:
    """An uncompiled model and how it is trained."""

    model: "keras.Model"
    loss: Callable[[Any, Any], Any]
    """(y, outputs) -> a loss for each weight, in keras.ops; the loop divides the weighted sum by the global weight."""
    metrics: dict[str, Metric]
    """The first is the one that `monitor: metric` follows."""
    head: Head | None = None
    """None: the model has no part that other weights could be for."""
    network: "keras.Model | None" = None
    """The nested model that a file of published weights is for."""
    part: "Callable[[keras.Model], keras.Model] | None" = None
    """What of a preset's backbone the network is; None: all of it."""
    published: "Mapping[str, Callable[[], Download]]" = field(default_factory=dict)
    """Weights for the network, by the name that `--pretrained` knows them by."""
    cacheable: bool = False
    """Whether the backbone sees an example alike in every epoch, so that what a frozen one makes of it is computed
    once."""
    tables: "Mapping[str, str]" = field(default_factory=dict)
    """Embeddings, and kernels, whose rows stand for something that has a name: the layer -> the asset with the names. A
    warm start takes the rows over by them."""
    encoders: "Mapping[str, Origin]" = field(default_factory=dict)
    """Where pretrained networks come from that parts of the examples were put through before training, by the settings
    that name them; for the manifest."""
    whole: "keras.Model | None" = None
    """The model that is kept, and predicts, where `model` is only what is trained of it or around it."""
    gains_by_xla: bool = True
    """Whether XLA speeds training up on a CPU, unless its layers are known to be slow there."""
    lora: tuple[str, ...] = ()
    """How the names of the layers end that `--lora-rank` is for; none: all dense, attention and embedding layers."""
    solve: "Callable[[Data], None] | None" = None
    """Sets the weights to those that minimise the loss over data.splits["train"], where a closed form gives them: there
    are no epochs then, and no best one to choose. None: they are trained."""


@dataclass(frozen=True)
class Pretraining:
    """How a task learns from examples whose labels it does not look at, before its training."""

    load_data: "Callable[[Any, Data], Data]"
    """(config, the data of the run) -> the examples of config.pretrain_on as the split `train` alone, without those
    that the run validates or tests on."""
    encode: "Callable[[Any, Assets], Encoder]"
    """(config, assets) -> the encoder: `x` an example of which a part is hidden, by its key; `y` what is to be
    found."""
    build_model: "Callable[[Built, Any, Assets], Built]"
    """(the model that will be trained, config, assets) -> a model of the same layers without the head, with what it
    takes to find `y` on top; it has no metrics."""


@dataclass(frozen=True)
class Record:
    """The answer for one input."""

    id: str
    answer: Mapping[str, Any]
    """What a person reads, as JSON values."""
    output: np.ndarray | None = None
    """What `score` needs beyond the answer, for instance the probability of each class [classes]."""
    error: str | None = None
    beside: Any = None
    """What `table`, or what holds an export against it, needs beyond those, for instance the time of each step."""


@dataclass(frozen=True)
class Table:
    """How records are written as CSV, a number or a text in each cell."""

    columns: tuple[str, ...]
    """Those between the id and the error."""
    rows: Callable[[Record], Iterable[Mapping[str, Any]]]
    """A record without an error -> its rows, as many as it needs: cells by column."""


Predictor = Callable[[Iterable[tuple[list[str], Raw]]], Iterator[Record]]
"""Batches of (ids, raw examples) in, records out, in order. A broken input becomes a record with an error; so does one
whose `path` (`text`, `name`) is none but NUL and the reason why it was refused."""


@dataclass(frozen=True)
class Interval:
    """A score with its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Scores:
    """What `score` gives, for the model and for its baseline alike."""

    headline: str
    scores: dict[str, Interval]
    breakdowns: dict[str, Any] = field(default_factory=dict)
    """JSON, for instance precision, recall and F1 of each class, or the confusion matrix."""
    resamples: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Of scores that are compared with the baseline's in pairs: float64 [resamples], the score of each resample. Model
    and baseline must be resampled alike, as `scoring.resample` does with the same examples and seed."""


@dataclass(frozen=True)
class Figure:
    """A picture for the report."""

    name: str
    """The file's stem."""
    title: str
    caption: str
    png: bytes


@dataclass(frozen=True)
class Passage:
    """A text, a word or more at a time."""

    heading: str
    words: tuple[tuple[str, float | None], ...]
    """With the blanks between them; each with how much it speaks for something, from -1 (against it) to 1; at 0 it
    stands as it is, at None it is greyed."""
    sound: bytes | None = None
    """A FLAC file to play with it."""


@dataclass(frozen=True)
class Passages:
    """Texts for the report, where a Figure is a picture."""

    name: str
    """The file's stem."""
    title: str
    caption: str
    passages: tuple[Passage, ...]
    legend: tuple[str, str] | None = None
    """What words at -1 and at 1 do; None where none are coloured."""


@dataclass(frozen=True)
class Baseline:
    """A fitted classical model and what it is."""

    name: str
    predictor: Predictor
    note: str = ""
    """For instance that its iterations were capped before it converged."""
    fetch: "Callable[[Store, np.ndarray], Raw] | None" = None
    """(store, indices) -> what its predictor takes, where that is not what the store fetches for the model."""
    others: "tuple[Baseline, ...]" = ()
    """Further ones to show beside it. The model is held against the first alone: the task says which that is, and must
    not choose it by the test split."""


Frozen = Callable[[Any], np.ndarray]
"""Encoded inputs x -> what the pretrained backbone makes of them, as it was before this training: [rows, features]."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with the data, found by `data check`."""

    level: Literal["error", "warning"]
    kind: str
    """A short fixed name, for instance undecodable, empty-label, duplicate-across-splits."""
    where: str
    """File, or file and row."""
    message: str
    """What is wrong and what to do."""


@dataclass(frozen=True)
class CheckReport:
    """What `data check` found."""

    problems: list[Problem]
    summary: dict[str, Any]

    @property
    def errors(self) -> list[Problem]:
        """Those that would stop a run."""
        return [problem for problem in self.problems if problem.level == "error"]


@dataclass(frozen=True)
class Teacher:
    """A finished run of the task, whose answers another model learns from."""

    source: str
    """Its folder, as it was named."""
    model: "keras.Model"
    config: Any
    assets: Assets


Encoder = Callable[[Any, Any], tuple[Any, Any, Any]]
"""(raw tensors, keys int64 [rows]) -> (x, y, weight): a TensorFlow graph that decodes, augments by key and pads.
`x` is what the model takes: a tensor [rows, ...], or a dict of them by the names of its inputs; `y` is None where raw
has no target; weight float32 [rows] or [rows, positions]."""


@dataclass(frozen=True)
class Task:
    """What the runtime needs to know about a task. Data checks live in the task's `data.check_data`, free of
    TensorFlow."""

    unit: str
    """What records, shards and intervals count: image, text, series, user, utterance, sentence."""
    table: "Callable[[Any, Assets], Table]"
    """(config, assets) -> how a record becomes rows of predict's CSV. As a JSON line it is its answer."""
    load_data: "Callable[[Any], Data]"
    """config -> the data."""
    load_test: "Callable[[Any, Assets], Data]"
    """(config, assets) -> data with the split `test` alone: that of config.data, or all of it where it has none; with
    the classes (vocabulary, ...) that the model knows."""
    resolve: "Callable[[Any, Data], Any]"
    """(config, data) -> config with whatever the data decides filled in; written to run.yaml before step 0."""
    encode: "Callable[[Any, Assets, bool], Encoder]"
    """(config, assets, training) -> the encoder."""
    batching: "Callable[[Any], Batching]"
    build_model: "Callable[[Any, Assets], Built]"
    """Built inside the strategy's scope, of keras and keras.ops only, from config and assets only."""
    baseline: "Callable[[Any, Data, Frozen | None], Baseline]"
    """(config, data, frozen) -> the classical model; where weights were taken over, on the features of the frozen
    backbone."""
    predictor: "Callable[[keras.Model, Any, Assets, Mapping[str, Any]], Predictor]"
    """(model, config, assets, options) -> the predictor."""
    references: "Callable[[Store], Raw]"
    """The truth about every example of a split, without its inputs; where scores are told apart, with the column
    `group_by`, object [examples], of texts."""
    targets: "Callable[[Raw, Assets], Sequence[Any]]"
    """(references, assets) -> the truth about each example as a person reads it, in JSON values."""
    score: "Callable[[Sequence[Record], Raw, Any, Assets], Scores]"
    """(records, references, config, assets) -> scores. NumPy only: the model, its baseline and its exports go
    through it alike."""
    figures: "Callable[[Sequence[Record], Raw, Any, Assets, Store, keras.Model], Sequence[Figure | Passages]]"
    """(records, references, config, assets, store, model) -> pictures and texts; the model is the one that gave the
    records."""
    inputs: "Callable[[Sequence[str], Any, Assets], Iterator[tuple[list[str], Raw]]]"
    """(paths or - , config, assets) -> batches of (ids, raw) for predict, streamed."""
    calibrate: "Callable[[Any, Assets, Sequence[Record], Raw], Assets] | None" = None
    """(config, assets, records of the validation split, their references) -> assets, with what is fitted after
    training; None: nothing is, and the validation split is not predicted."""
    pretraining: Pretraining | None = None
    """None: the task refuses `--pretrain-on`."""
    distil: "Callable[[Built, Teacher, Any, Assets], Built] | None" = None
    """(built, teacher, config, assets) -> what is trained with the teacher beside it, as `transfer.distillation` makes
    it; None where no teacher is of use."""
    naive: "Callable[[Any, Data], Baseline] | None" = None
    """(config, data of load_test) -> a model that takes no fitting, for the scores of data that nothing was fitted to
    to stand beside; None where there is none."""
    serving: "Callable[[keras.Model, Any, Assets], Serving] | None" = None
    """(model, config, assets) -> the graph of export/saved_model, or NotServed where it cannot be one; None: there is
    none yet."""
