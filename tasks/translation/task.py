"""What the runtime needs to know about translation."""

from pipelines.task import Task
from tasks.translation import answers, encoding, implied, model, scores, serving, tokens, translating
from tasks.translation import data as pairs

TASK = Task(
    unit="sentence",
    table=answers.table,
    load_data=tokens.load_data,
    load_test=tokens.load_test,
    resolve=implied.resolve,
    encode=encoding.encode,
    batching=encoding.batching,
    build_model=model.build_model,
    baseline=scores.baseline,
    predictor=translating.predictor,
    references=pairs.references,
    targets=scores.targets,
    score=scores.score,
    figures=scores.figures,
    inputs=pairs.inputs,
    naive=scores.naive,
    serving=serving.serving,
)
