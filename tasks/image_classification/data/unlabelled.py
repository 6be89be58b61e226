"""Images to learn from without their labels."""

import hashlib
from typing import cast

import numpy as np

from pipelines.errors import DataError
from pipelines.labelled.assembly import contents, refuse
from pipelines.labelled.parts import Part, Wanted
from pipelines.readings import Meter
from pipelines.sources.folders import printable
from pipelines.splits import Rows, first
from pipelines.task import Data, Problem
from tasks.image_classification.config import Config
from tasks.image_classification.data.parts import read_source
from tasks.image_classification.data.stores import Images, UnlabelledStore


def load_unlabelled(config: Config, data: Data) -> Data:
    """The images of config.pretrain_on, as the split train alone: a folder's files however deep, or what another source
    would be trained on. Of a source that brings splits it is the training split; images that the run validates or tests
    on are left out, by content.

    Raises:
        DataError: the source cannot be used, or (on_bad: fail) an image.
    """
    try:
        return _load(config, str(config.pretrain_on), data)
    except DataError as error:
        raise DataError(printable(f"pretrain_on: {error}")) from error


def _load(config: Config, spec: str, data: Data) -> Data:
    columns = {name: column for name, column in (config.columns or {}).items() if name == "image"}
    reading = read_source(spec, Wanted(columns or None, labelled=False), Meter(None))
    part = reading.parts["train"]
    bad = [(row, problem) for row, problem in part.bad if problem.kind != "empty-label"]
    problems = [problem for _, problem in bad]
    refuse(config, problems, len(part.labels) + sum(row is None for row, _ in bad))
    good = np.setdiff1d(np.arange(len(part.labels)), np.array([row for row, _ in bad if row is not None], np.int64))
    rows = good[~_held_out(part, good, data)]
    protocol = "Learned from without labels."
    if len(rows) < len(good):
        protocol += f" {len(good) - len(rows):,} more are left out, as they stand in the validation or test split."
    if config.limit is not None:
        rows = rows[first(Rows(part.hashes[rows], np.zeros(len(rows), np.int64)), np.arange(len(rows)), config.limit)]
    if not len(rows):
        raise DataError(f"{spec} holds no usable image to learn from.")
    hashes = part.hashes[rows]
    summary = {
        "source": printable(spec),
        "counts": {"train": len(rows)},
        "skipped": [{"where": printable(each.where), "message": printable(each.message)} for each in problems],
        "warnings": _told(reading.warnings + part.warnings),
        "protocol": protocol,
    }
    digest = hashlib.blake2b(hashes.tobytes(), digest_size=16).hexdigest()
    return Data(
        {"train": UnlabelledStore(cast(Images, part.items), rows)}, {}, summary, digest, protocol, {"train": hashes}
    )


def _held_out(part: Part, rows: np.ndarray, data: Data) -> np.ndarray:
    """bool [rows]: the images that the run validates or tests on."""
    held = np.concatenate([contents(data, split) for split in ("valid", "test")])
    return np.isin(part.hashes[rows], held)


def _told(warnings: list[Problem]) -> list[str]:
    return [printable(f"{each.where}: {each.message}") for each in warnings]
