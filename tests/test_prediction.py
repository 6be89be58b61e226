"""Predicting: order, broken inputs, formats, memory."""

import io
import json
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipelines import prediction
from pipelines.labelled.tables import class_table
from pipelines.prediction import Counts, Parts, batched_predictor, write_records, write_table
from pipelines.shards import Shard, bad_of, merge
from pipelines.task import Raw, Record, Table


def halve(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
    """Even numbers only; an odd one cannot be encoded."""
    even = tf.debugging.assert_equal(raw["number"] % 2, 0, message="the number is odd")
    with tf.control_dependencies([even]):
        return raw["number"] // 2, None, None


def predictor(calls: list[int] | None = None) -> Any:
    def forward(x: Any) -> np.ndarray:
        if calls is not None:
            calls.append(len(x))
        return np.asarray(x, np.float32)

    return batched_predictor(halve, forward, lambda name, output: Record(name, {"half": float(output)}, output))


def batches(numbers: list[int], size: int = 3) -> Iterator[tuple[list[str], Raw]]:
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        yield [str(n) for n in part], {"number": np.array(part, np.int32)}


def test_records_come_in_order() -> None:
    records = list(predictor()(batches(list(range(0, 100, 2)))))
    assert [record.id for record in records] == [str(n) for n in range(0, 100, 2)]
    assert [record.answer["half"] for record in records] == list(range(50))


def test_a_broken_input_is_a_record_among_the_others() -> None:
    records = list(predictor()(batches([0, 2, 3, 4, 6, 8, 11, 13, 15, 16])))
    assert [record.id for record in records if record.error] == ["3", "11", "13", "15"]
    assert "the number is odd" in str(records[2].error)
    assert "{{" not in str(records[2].error)
    assert [record.answer["half"] for record in records if not record.error] == [0, 1, 2, 3, 4, 8]


def test_nothing_in_nothing_out() -> None:
    assert list(predictor()(iter([]))) == []


def test_only_a_few_batches_are_read_ahead() -> None:
    taken = 0

    def endless() -> Iterator[tuple[list[str], Raw]]:
        nonlocal taken
        while True:
            taken += 1
            yield [str(taken)], {"number": np.array([2 * taken], np.int32)}

    records = predictor()(endless())
    assert [next(records).id for _ in range(20)] == [str(n) for n in range(1, 21)]
    assert taken <= 26


def test_an_error_of_the_source_comes_through() -> None:
    def failing() -> Iterator[tuple[list[str], Raw]]:
        yield ["2"], {"number": np.array([2], np.int32)}
        raise ValueError("the table is damaged")

    with pytest.raises(ValueError, match="the table is damaged"):
        list(predictor()(failing()))


RECORDS = [
    Record("a,1", {"label": "x", "top": [{"label": "x", "probability": 0.5}]}, np.zeros(2)),
    Record("b", {}, error="it is broken"),
]


def test_json_lines() -> None:
    file = io.StringIO()
    assert write_records(RECORDS, file) == Counts(2, 1)
    first, second = (json.loads(line) for line in file.getvalue().splitlines())
    assert first == {"id": "a,1", "label": "x", "top": [{"label": "x", "probability": 0.5}]}
    assert second == {"id": "b", "error": "it is broken"}


LABELLED = class_table(
    ("label",),
    ["x", "y,z"],
    lambda record: {"label": record.answer["label"]},
    lambda record: [0.5, 0.25],
)


def test_csv_has_the_same_columns_whatever_comes_first() -> None:
    for records in (RECORDS, RECORDS[::-1]):
        file = io.StringIO()
        assert write_table(records, file, LABELLED) == Counts(2, 1)
        lines = file.getvalue().splitlines()
        assert lines[0] == 'id,label,probability_x,"probability_y,z",error'
        assert "b,,,,it is broken" in lines
        assert '"a,1",x,0.5,0.25,' in lines


def test_a_record_can_be_several_rows_of_csv() -> None:
    steps = Table(("step", "value"), lambda record: ({"step": step, "value": 2 * step} for step in record.beside))
    file = io.StringIO()
    several = [Record("a", {}, beside=range(2)), Record("b", {}, error="it is broken"), Record("c", {}, beside=[7])]
    assert write_table(several, file, steps) == Counts(3, 1)
    assert file.getvalue().splitlines() == ["id,step,value,error", "a,0,0,", "a,1,2,", "b,,,it is broken", "c,7,14,"]


def test_parts_share_one_model_and_one_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads, reads, output = [], [], tmp_path / "out.jsonl"

    def inputs(names: list[str], config: Any, assets: Any) -> Iterator[tuple[list[str], Raw]]:
        reads.append(names)
        return batches([0, 2, 3, 4, 6, 8, 11, 13, 15, 16])

    def load(*about: Any) -> Any:
        loads.append(about)
        task = types.SimpleNamespace(inputs=inputs)
        return types.SimpleNamespace(task=task, predictor=predictor(), config=None, assets=None)

    monkeypatch.setattr("pipelines.artefact.load_predictor", load)
    monkeypatch.setattr(prediction, "find_run", lambda run: types.SimpleNamespace(identity=lambda: "a run"))
    parts = Parts(tmp_path, ["x"], output=output, format="jsonl", options={}, max_bad=1)
    assert (loads, reads) == ([], [])
    with ThreadPoolExecutor(3) as pool:  # two threads of a worker ask at once
        counts = list(pool.map(parts.predict, [Shard(index, 3) for index in (2, 0, 1)]))
    assert counts == [Counts(4, 3), Counts(3, 1), Counts(3, 0)]
    assert parts.predict(Shard(0, 3)) == Counts(0, 0)
    assert (len(loads), len(reads)) == (1, 4)
    assert merge(output) == (10, 4)
    lines = output.read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["0", "2", "3", "4", "6", "8", "11", "13", "15", "16"]
    assert bad_of(output).read_text().splitlines() == [line for line in lines if '"error"' in line]


def test_ragged_columns_keep_their_rows_where_one_is_refused() -> None:
    def total(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        rows = tf.RaggedTensor.from_row_splits(raw["items"], raw["items_splits"])
        positive = tf.debugging.assert_greater(tf.reduce_min(rows, axis=1), 0, message="an item is negative")
        with tf.control_dependencies([positive]):
            return tf.reduce_sum(rows, axis=1), None, None

    def given() -> Iterator[tuple[list[str], Raw]]:
        yield (
            list("abcd"),
            {"items": np.array([1, 2, 3, -4, 5, 6, 7], np.int32), "items_splits": np.array([0, 2, 3, 4, 7])},
        )

    def forward(x: Any) -> np.ndarray:
        return np.asarray(x, np.float32)

    predict = batched_predictor(total, forward, lambda name, output: Record(name, {"total": float(output)}, output))
    records = list(predict(given()))
    assert [record.answer.get("total") for record in records] == [3.0, 3.0, None, 18.0]
    assert "negative" in str(records[2].error)
