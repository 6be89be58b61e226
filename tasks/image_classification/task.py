"""What the runtime needs to know about image classification."""

from pipelines.task import Batching, Data, Pretraining, Task
from tasks.image_classification import data as image_data
from tasks.image_classification import model, pixels, pretraining, scores, teaching
from tasks.image_classification.config import Config
from tasks.image_classification.implied import imply


def batching(config: Config) -> Batching:
    """All images cost the same."""
    return Batching(batch_sizes=(config.batch_size,), partners=config.mixup is not None or config.cutmix is not None)


def resolve(config: Config, data: Data) -> Config:
    """What the pretrained weights decide is filled in first, then what the data decides."""
    return image_data.resolve(imply(config), data)


TASK = Task(
    unit="image",
    table=scores.table,
    load_data=image_data.load_data,
    load_test=image_data.load_test,
    resolve=resolve,
    encode=pixels.encode,
    batching=batching,
    build_model=model.build_model,
    baseline=scores.baseline,
    calibrate=scores.calibrate,
    predictor=model.predictor,
    references=image_data.references,
    targets=scores.targets,
    score=scores.score,
    figures=scores.figures,
    inputs=image_data.inputs,
    pretraining=Pretraining(image_data.load_unlabelled, pretraining.encode, pretraining.build_model),
    distil=teaching.distil,
)
