"""What the runtime needs to know about text sentiment."""

from pipelines.task import Batching, Data, Task
from tasks.text_sentiment import data as text_data
from tasks.text_sentiment import encoding, model, scores, tokens
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.implied import enough_epochs, imply
from tasks.text_sentiment.lengths import bounds, window_bounds
from tasks.text_sentiment.serving import serving


def batching(config: Config) -> Batching:
    """A bucket for each length that texts are padded to; of several windows, for each number of them."""
    limits = (*bounds(config), *(config.max_tokens * count for count in window_bounds(config)[1:]))
    return Batching(
        cost=lambda sizes: sizes[:, 0],
        bounds=limits[:-1],
        batch_sizes=tuple(_batch_size(config, limit) for limit in limits),
    )


def _batch_size(config: Config, tokens: int) -> int:
    """Of texts of so many tokens: a multiple of 8 where it can be, which devices share equally, and of the parts that
    it is computed in."""
    if config.tokens_per_batch is None:
        return config.batch_size
    many = config.tokens_per_batch // tokens
    part = config.accumulate * (8 if many >= 8 * config.accumulate else 1)
    return max(many // part, 1) * part


def resolve(config: Config, data: Data) -> Config:
    """What the pretrained weights decide is filled in first, then what the data decides: how long few texts are learnt
    from, whether labels are grades."""
    ordered = scores.grades(config, data.assets["classes"]) is not None
    trained = enough_epochs(imply(config), len(data.splits["train"]))
    return trained.model_copy(update={"ordered": "yes" if ordered else "no"})


TASK = Task(
    unit="text",
    table=scores.table,
    load_data=tokens.load_data,
    load_test=tokens.load_test,
    resolve=resolve,
    encode=encoding.encode,
    batching=batching,
    build_model=model.build_model,
    baseline=scores.baseline,
    calibrate=scores.calibrate,
    predictor=model.predictor,
    references=text_data.references,
    targets=scores.targets,
    score=scores.score,
    figures=scores.figures,
    inputs=text_data.inputs,
    serving=serving,
)
