"""What the runtime needs to know about text sentiment."""

from pipelines.task import Task
from tasks.text_sentiment import (
    answers,
    baseline,
    data,
    encoding,
    figures,
    implied,
    lengths,
    model,
    prediction,
    scores,
    serving,
    tokens,
)

TASK = Task(
    unit="text",
    table=answers.table,
    load_data=tokens.load_data,
    load_test=tokens.load_test,
    resolve=implied.resolve,
    encode=encoding.encode,
    batching=lengths.batching,
    build_model=model.build_model,
    baseline=baseline.baseline,
    calibrate=scores.calibrate,
    predictor=prediction.predictor,
    references=data.references,
    targets=scores.targets,
    score=scores.score,
    figures=figures.figures,
    inputs=data.inputs,
    serving=serving.serving,
)
