"""What the runtime needs to know about time-series forecasting."""

from pipelines.task import Data, Pretraining, Task
from tasks.time_series_forecasting import (
    answers,
    baseline,
    data,
    encoding,
    figures,
    implied,
    model,
    prediction,
    pretraining,
    scores,
    serving,
)
from tasks.time_series_forecasting.config import Config


def load_data(config: Config) -> Data:
    """The windows are as long as the run to start from has them, where nothing else is said."""
    return data.load_data(implied.imply(config))


TASK = Task(
    unit="window",
    table=answers.table,
    load_data=load_data,
    load_test=data.load_test,
    resolve=implied.resolve,
    encode=encoding.encode,
    batching=encoding.batching,
    build_model=model.build_model,
    baseline=baseline.baseline,
    calibrate=scores.calibrate,
    predictor=prediction.predictor,
    references=data.references,
    targets=scores.targets,
    score=scores.score,
    figures=figures.figures,
    inputs=data.inputs,
    naive=baseline.naive,
    pretraining=Pretraining(data.load_unlabelled, pretraining.encode, pretraining.build_model),
    serving=serving.serving,
)
