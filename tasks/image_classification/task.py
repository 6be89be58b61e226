"""What the runtime needs to know about image classification."""

from pipelines.task import Batching, Task
from tasks.image_classification import data, model, pixels, scores
from tasks.image_classification.config import Config


def batching(config: Config) -> Batching:
    """All images cost the same."""
    return Batching(batch_sizes=(config.batch_size,), partners=config.mixup is not None or config.cutmix is not None)


def answer(config: Config) -> tuple[str, ...]:
    """What a record says of an image."""
    return ("labels", "top_k") if config.multi_label else ("label", "probability", "top_k")


TASK = Task(
    unit="image",
    answer=answer,
    load_data=data.load_data,
    load_test=data.load_test,
    resolve=data.resolve,
    encode=pixels.encode,
    batching=batching,
    build_model=model.build_model,
    baseline=scores.baseline,
    calibrate=scores.calibrate,
    predictor=model.predictor,
    references=data.references,
    targets=scores.targets,
    score=scores.score,
    figures=scores.figures,
    inputs=data.inputs,
)
