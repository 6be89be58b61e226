"""What the runtime needs to know about recommendation."""

from pipelines.task import Batching, Data, Task
from tasks.recommendation import answers, encoding, implied, model, scores, topk
from tasks.recommendation import data as interactions
from tasks.recommendation.config import SEQUENTIAL, Config
from tasks.recommendation.serving import serving


def batching(config: Config) -> Batching:
    """A bucket for each length that histories are padded to; pairs all cost the same."""
    if config.backbone not in SEQUENTIAL:
        return Batching(batch_sizes=(config.batch_size,))
    limits = encoding.lengths(config)
    # A history is learnt from by all but its last item.
    return Batching(lambda sizes: sizes[:, 0] - 1, limits[:-1], (config.batch_size,) * len(limits))


def load_data(config: Config) -> Data:
    """The model is that of the run to start from, where nothing else is said."""
    return interactions.load_data(implied.imply(config))


TASK = Task(
    unit="user",
    table=answers.table,
    load_data=load_data,
    load_test=interactions.load_test,
    resolve=implied.resolve,
    encode=encoding.encode,
    batching=batching,
    build_model=model.build_model,
    baseline=scores.baseline,
    predictor=topk.predictor,
    references=interactions.references,
    targets=scores.targets,
    score=scores.score,
    figures=scores.figures,
    inputs=interactions.inputs,
    serving=serving,
)
