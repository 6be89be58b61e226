"""Predicting in parts: which batches are whose, what merging refuses, and what is not done again."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError, DataError, StateError
from pipelines.shards import Shard, bad_of, finish, is_there, made_of, make_folder, merge, missing, parts_of, wanted
from pipelines.state import is_left_over, replacing

OF = {"run": "2026", "inputs": [["a.csv", 3, 1]], "options": {"top_k": 2}, "format": "jsonl"}


def put(output: Path, index: int, count: int = 3, **about: Any) -> None:
    shard = Shard(index, count)
    part = shard.part(output)
    part.parent.mkdir(exist_ok=True)
    part.write_text(f"{index}\n" * 2)
    bad_of(part).write_text("bad\n" * about.get("bad", 0))
    finish(shard, output, {"batches": 6, "records": 2, "bad": 0, "max_bad": 0.25, "of": OF, **about})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.mark.parametrize(("batches", "count"), [(0, 3), (2, 3), (7, 3), (64, 64), (1000, 7)])
def test_every_batch_is_in_one_shard_in_order(batches: int, count: int) -> None:
    spans = [Shard(index, count).span(batches) for index in range(count)]
    assert [batch for first, end in spans for batch in range(first, end)] == list(range(batches))
    sizes = [end - first for first, end in spans]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["3/3", "1", "-1/3", "0/0", "a/b", "1/3/5", ""])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ConfigError, match="--shard takes INDEX/COUNT"):
        Shard.parse(text)


def test_parts_are_merged_in_order_whatever_order_they_came_in(output: Path) -> None:
    for index in (2, 0, 1):
        put(output, index)
    assert merge(output) == (6, 0)
    assert output.read_text() == "0\n0\n1\n1\n2\n2\n"


def test_what_is_merged_already_is_left_alone_where_that_is_enough(output: Path) -> None:
    """As each of many shards that are there would merge all of them once more."""
    for index in range(3):
        put(output, index)
    merge(output)
    known = output.stat().st_mtime_ns
    merge(output, again=False)
    assert output.stat().st_mtime_ns == known
    for damage in (lambda: bad_of(output).unlink(), lambda: output.write_text("0\n"), lambda: put(output, 1, bad=2)):
        damage()
        with suppress(DataError):
            merge(output, again=False)
        assert output.read_text() == "0\n0\n1\n1\n2\n2\n"
    with pytest.raises(DataError, match="2 of 6 inputs"):
        merge(output, again=False)


def test_who_merges_at_the_same_time_writes_a_file_of_their_own(output: Path) -> None:
    """The processes of two containers may have the same number."""
    with replacing(output) as one, replacing(output) as other:
        assert one != other
        assert is_left_over(one.name)
        for file in (one, other):
            file.touch()


def test_a_part_that_is_missing_is_named_and_nothing_is_written(output: Path) -> None:
    with pytest.raises(StateError, match="there are no parts"):
        merge(output)
    put(output, 1)
    assert missing(output) == ["0/3", "2/3"]
    with pytest.raises(StateError, match="has 1 of 3 parts: predict --shard 0/3, 2/3 first"):
        merge(output)
    assert not output.exists()


def test_a_part_that_was_cut_off_is_not_there(output: Path) -> None:
    """A kill between the records and the line that says they are whole; or a file that was cut since."""
    put(output, 0)
    part = Shard(0, 3).part(output)
    assert is_there(Shard(0, 3), output, OF)
    part.write_text("0\n")
    assert not is_there(Shard(0, 3), output, OF)
    with pytest.raises(StateError, match="is damaged"):
        merge(output)
    part.with_name(f"{part.name}.json").unlink()
    assert not is_there(Shard(0, 3), output, OF)


def test_parts_of_different_predictions_do_not_mix(output: Path) -> None:
    put(output, 0)
    with pytest.raises(ConfigError, match="parts of another prediction .options differ.: remove the folder"):
        is_there(Shard(0, 3), output, {**OF, "options": {"top_k": 3}})
    put(output, 1, of={**OF, "run": "2027"})
    put(output, 2)
    with pytest.raises(StateError, match="parts of several predictions"):
        merge(output)
    put(output, 0, count=2)
    with pytest.raises(StateError, match="several numbers of shards"):
        merge(output)


def test_too_many_bad_inputs_are_counted_over_all_parts(output: Path) -> None:
    for index in range(3):
        put(output, index, bad=2 if index == 1 else 0)
    with pytest.raises(DataError, match="2 of 6 inputs could not be read, more than --max-bad 0.25"):
        merge(output)
    assert output.exists()
    assert bad_of(output).read_text() == "bad\n" * 2
    bad_of(Shard(1, 3).part(output)).write_text("")
    with pytest.raises(StateError, match="is damaged"):
        merge(output)


def test_what_is_wanted_is_what_is_not_there(output: Path) -> None:
    assert [str(shard) for shard in wanted(output, 3, OF)] == ["0/3", "1/3", "2/3"]
    put(output, 1)
    assert [str(shard) for shard in wanted(output, 3, OF)] == ["0/3", "2/3"]
    with pytest.raises(ConfigError, match="holds some of 3 parts: give --shards 3 to go on"):
        wanted(output, 4, OF)
    with pytest.raises(ConfigError, match="parts of another prediction"):
        wanted(output, 3, {**OF, "run": "2027"})


def test_a_folder_that_cannot_be_is_refused(output: Path) -> None:
    parts_of(output).write_text("a file of that name")
    with pytest.raises(ConfigError, match=r"output: .*out\.jsonl\.parts cannot be written"):
        make_folder(output)


def test_an_input_that_changed_makes_another_prediction(output: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a")
    before = made_of("2026", [str(file), "folder/"], {"columns": {"a": "b"}}, "csv")
    assert made_of("2026", [str(file), "folder/"], {"columns": {"a": "b"}}, "csv") == before
    file.write_text("ab")
    assert made_of("2026", [str(file), "folder/"], {"columns": {"a": "b"}}, "csv") != before
    assert parts_of(output).name == "out.jsonl.parts"
