"""What the runtime needs to know about speech recognition."""

from pipelines.task import Task
from tasks.speech_recognition import answers, assets, encoding, implied, lengths, model, scores, sounds, transcribing
from tasks.speech_recognition import data as clips

TASK = Task(
    unit="utterance",
    table=answers.table,
    load_data=assets.load_data,
    load_test=sounds.load_test,
    resolve=implied.resolve,
    encode=encoding.encode,
    batching=lengths.batching,
    build_model=model.build_model,
    baseline=scores.baseline,
    predictor=transcribing.predictor,
    references=clips.references,
    targets=scores.targets,
    score=scores.score,
    figures=scores.figures,
    inputs=clips.inputs,
)
