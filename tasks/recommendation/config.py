"""Settings for recommendation. Imports no TensorFlow."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from pipelines.config import RunConfig, setting
from pipelines.config.options import Options, option
from pipelines.config.values import BatchSize, Columns, Split, check_roles
from pipelines.sources.texts import check_encoding

ROLES = ("user", "item", "rating", "time")
"""What columns of interactions are mapped to."""
SEQUENTIAL = ("sasrec", "gru4rec")
"""Backbones that read a user's history in order: one example is one user."""
READING = (*SEQUENTIAL, "ease")
"""Backbones that know users by what they took alone, whoever they are."""
DRAWING = ("sampled-softmax", "bpr", "pointwise")
"""Losses that draw items which a user did not take."""
CUTOFFS = (5, 10, 20)
"""List lengths that are scored, besides k."""


class PredictOptions(Options):
    """What predict takes of recommendation."""

    users: tuple[str, ...] = option((), "A file of user ids, a line each; the same as INPUT.", kind="input")
    history: tuple[str, ...] = option(
        (),
        'Users by what they took, also such as were never seen: JSON lines {"user": …, "items": […]}, or a table of '
        "interactions; the same as INPUT.",
        kind="input",
    )
    exclude_seen: bool = option(True, "Leave out what a user took before.", kind="flag", off="keep-seen")
    allow: tuple[str, ...] | None = option(
        None, "A file of item ids, a line each: recommend these alone.", kind="names"
    )


class Config(RunConfig):
    """What can be set for recommendation."""

    columns: Columns | None = setting(
        None,
        "Which columns of a table to read, as in user=uid item=sku rating=stars time=ts; numbers are positions in a "
        "table without a line of names.",
        group="data",
    )
    group_by: str | None = setting(
        None, "A column of the table of users: scores are also given for each of its values.", group="data"
    )
    split: Split = setting(
        (0.8, 0.1, 0.1),
        "Shares or counts of interactions of train, validation and test, of protocols time and random.",
        group="data",
    )
    encoding: Annotated[str, AfterValidator(check_encoding)] = setting(
        "utf-8", "How ids, titles and categories are written in tables and lists, as cp1252.", group="data"
    )
    users: str | None = setting(
        None, "A table of users: the first column (or user) is their id, the others are features.", group="data"
    )
    items: str | None = setting(
        None,
        "A table of items: the first column (or item) is their id, the others are features; title is shown in lists.",
        group="data",
    )
    protocol: Literal["auto", "time", "leave-last-out", "random", "given"] = setting(
        "auto",
        "How the test is held out: what comes last of all (time), the last item of each user, some at random, or what "
        "test names; auto: given with a test, leave-last-out for ordered lists, time where there are times, else "
        "random.",
        group="data",
    )
    duplicates: Literal["auto", "first", "last"] = setting(
        "auto",
        "Which of several interactions of a user with an item is kept; auto: the last where ratings are predicted, "
        "else the first.",
        group="data",
    )
    min_user: int = setting(
        1, "Users with fewer interactions are left out, and so on until none is left (k-core).", group="data", ge=1
    )
    min_item: int = setting(
        1, "Items with fewer interactions are left out, and so on until none is left (k-core).", group="data", ge=1
    )
    min_rating: float | None = setting(
        None, "Ratings below this are no interactions, where ratings are not what is predicted.", group="data"
    )
    max_history: int = setting(
        50, "The latest items of a user that a model sees, at most.", group="data", ge=1, le=4_096
    )
    backbone: Literal["auto", "mf", "neumf", "two-tower", "sasrec", "gru4rec", "ease"] = setting(
        "auto",
        "mf (matrix factorisation), neumf (with dense layers), two-tower (with features), sasrec (attention over the "
        "history), gru4rec (recurrent) or ease (linear, solved without epochs); auto: two-tower with a text_encoder, "
        "sasrec for ordered lists, else mf.",
        group="model",
        aliases=("model",),
    )
    text_encoder: str | None = setting(
        None,
        "A pretrained text encoder, a KerasHub preset or its folder, as text-sentiment starts from: two-tower then "
        "sees what it makes of the items' texts; it is not trained.",
        group="model",
    )
    width: int = setting(64, "Numbers that users and items are embedded in.", group="model", ge=2, le=4_096)
    layers: int = setting(2, "Layers of sasrec, gru4rec and the towers.", group="model", ge=1, le=24)
    heads: int = setting(2, "Attention heads of sasrec.", group="model", ge=1, le=64)
    dropout: float = setting(
        0.5, "Share of features dropped in training; by default 0 of mf.", group="model", ge=0, lt=1
    )
    loss: Literal["auto", "softmax", "sampled-softmax", "in-batch", "bpr", "pointwise", "mse", "squares"] = setting(
        "auto",
        "softmax over all items, over some drawn ones or those of the batch (both with logQ correction), bpr (pairs), "
        "pointwise (taken or not), mse, which predicts ratings, or squares, of ease alone; auto: what suits the "
        "backbone and the number of items.",
        group="training",
    )
    epochs: int = setting(20, "Passes over the training data.", group="training", resuming="grows", ge=1)
    batch_size: BatchSize = setting(
        256,
        "Interactions, or users where histories are learnt, of one update, over all devices; by default fewer where "
        "there are few: of histories 32 to 256, of neumf 64 under 50,000 interactions; auto: the largest that "
        "fits, found by trying (docs/devices.md).",
        group="training",
    )
    learning_rate: float = setting(
        1e-3,
        "Peak learning rate; by default 0.005 of mf and gru4rec, 0.003 of two-tower and of neumf that ranks, also "
        "where what another run learnt is trained on.",
        group="training",
        gt=0,
    )
    l2: float = setting(
        0.0,
        "L2 penalty on the kernels and embeddings; by default 0.0002 of mf that ranks. Of ease on its weights, by "
        "default the one of 3 to 1000 that does best on validation (300 of more than 4,000 items).",
        group="training",
        ge=0,
    )
    penalty: float = setting(
        0.1,
        "Of loss mse: on the squared numbers that a user and an item are embedded in, once for each rating.",
        group="training",
        ge=0,
    )
    negatives: int = setting(
        64,
        "Items drawn that a user did not take: for an update, of bpr and pointwise for each taken one; by default 8 of "
        "neumf.",
        group="training", ge=1, le=1_000_000,
    )  # fmt: skip
    top_k: int = setting(
        10,
        "Length of the lists: of that which the headline scores, and of those that predict gives.",
        group="training",
        aliases=("k",),
        ge=1,
        le=1_000,
    )

    @property
    def k(self) -> int:
        """As top_k, by its usual name."""
        return self.top_k

    @property
    def rates(self) -> bool:
        """Whether ratings are predicted, not lists."""
        return self.loss == "mse"

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.backbone in ("auto", "sasrec") and self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}: choose one that is")
        if self.rates and self.backbone in SEQUENTIAL:
            raise ValueError(f"backbone {self.backbone} ranks what comes next and loss mse predicts ratings: choose mf")
        if self.backbone == "neumf" and self.loss in ("softmax", "sampled-softmax", "in-batch"):
            raise ValueError(
                f"backbone neumf scores pairs one by one, not all at once as loss {self.loss} does: choose "
                "pointwise or bpr, or another backbone"
            )
        if self.text_encoder is not None and self.backbone not in ("auto", "two-tower"):
            raise ValueError(f"text_encoder is for two-tower, and backbone {self.backbone} sees no texts: drop one")
        if self.text_encoder is not None and self.items is None and not self.data.startswith("sample"):
            raise ValueError("text_encoder reads what the table of items says: name one with items")
        if self.rates and self.min_rating is not None:
            raise ValueError("min_rating makes likes of ratings, which loss mse predicts: drop one of the two")
        if self.protocol == "given" and self.test is None and self.data.startswith("sample"):
            raise ValueError("protocol given needs a test split: name one with test")
        return self

    @model_validator(mode="after")
    def _solved(self) -> Self:
        if self.loss == "squares" and self.backbone != "ease":
            raise ValueError("loss squares is that of ease alone: choose backbone ease, or another loss")
        if self.backbone == "ease" and self.loss not in ("auto", "squares"):
            raise ValueError(f"backbone ease minimises squares and nothing else, not loss {self.loss}: leave loss out")
        return self

    @model_validator(mode="after")
    def _columns_known(self) -> Self:
        check_roles(self.columns, ROLES)
        return self
