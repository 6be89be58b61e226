"""What the runtime needs to know about time-series forecasting."""

from pipelines.task import Batching, Data, Pretraining, Task
from tasks.time_series_forecasting import data as series_data
from tasks.time_series_forecasting import encoding, model, pretraining, scores
from tasks.time_series_forecasting.answers import FIELDS
from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.implied import decide, imply


def batching(config: Config) -> Batching:
    """Windows all cost the same."""
    return Batching(batch_sizes=(config.batch_size,))


def answer(config: Config) -> tuple[str, ...]:
    """What a record says of a window."""
    return FIELDS


def load_data(config: Config) -> Data:
    """The windows are as long as the run to start from has them, where nothing else is said."""
    return series_data.load_data(imply(config))


def resolve(config: Config, data: Data) -> Config:
    """What the run to start from decides is filled in first, then what the data decides."""
    return decide(imply(config), data.assets)


TASK = Task(
    unit="window",
    answer=answer,
    load_data=load_data,
    load_test=series_data.load_test,
    resolve=resolve,
    encode=encoding.encode,
    batching=batching,
    build_model=model.build_model,
    baseline=scores.baseline,
    calibrate=scores.calibrate,
    predictor=model.predictor,
    references=series_data.references,
    targets=scores.targets,
    score=scores.score,
    figures=scores.figures,
    inputs=series_data.inputs,
    pretraining=Pretraining(series_data.load_unlabelled, pretraining.encode, pretraining.build_model),
)
