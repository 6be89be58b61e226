"""What the runtime needs to know about speech recognition."""

from pipelines.task import Task
from tasks.speech_recognition import (
    answers,
    assets,
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
    sounds,
)

TASK = Task(
    unit="utterance",
    table=answers.table,
    load_data=assets.load_data,
    load_test=sounds.load_test,
    resolve=implied.resolve,
    encode=encoding.encode,
    batching=lengths.batching,
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
