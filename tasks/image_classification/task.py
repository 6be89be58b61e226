"""What the runtime needs to know about image classification."""

from pipelines.task import Pretraining, Task
from tasks.image_classification import (
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
    teaching,
)

TASK = Task(
    unit="image",
    table=answers.table,
    load_data=data.load_data,
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
    pretraining=Pretraining(data.load_unlabelled, pretraining.encode, pretraining.build_model),
    distil=teaching.distil,
    serving=serving.serving,
)
