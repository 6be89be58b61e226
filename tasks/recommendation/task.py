"""What the runtime needs to know about recommendation."""

from pipelines.task import Data, Task
from tasks.recommendation import answers, baseline, data, encoding, figures, implied, model, prediction, scores, serving
from tasks.recommendation.config import Config


def load_data(config: Config) -> Data:
    """The model is that of the run to start from, where nothing else is said."""
    return data.load_data(implied.imply(config))


TASK = Task(
    unit="example",
    table=answers.table,
    load_data=load_data,
    load_test=data.load_test,
    resolve=implied.resolve,
    encode=encoding.encode,
    batching=encoding.batching,
    build_model=model.build_model,
    baseline=baseline.baseline,
    predictor=prediction.predictor,
    references=data.references,
    targets=scores.targets,
    score=scores.score,
    figures=figures.figures,
    inputs=data.inputs,
    serving=serving.serving,
)
