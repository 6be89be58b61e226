"""What auto stands for: candidates and batch sizes by made-up timings, what is remembered, and one run for real."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import choices, machine
from pipelines.choices import candidates, sizes
from pipelines.choices.bench import Bench, Outcome
from pipelines.choices.remembered import Memory
from pipelines.cli import main
from pipelines.config import RunConfig, load_config
from pipelines.console import Console
from pipelines.errors import ConfigError, DataError, RunError
from pipelines.workers import ALONE, Workers

GB = 1 << 30
CPU = {"device": "cpu", "replicas": 1, "examples": 100_000}
BOTH = RunConfig(precision="auto", jit="auto")


def timed(step: float, compiled: float = 0.0, loss: float = 1.0, **others: Any) -> Outcome:
    return Outcome(compiled + step, step, step, loss, **{"steps": 1_000, "shapes": 2, **others})


def chosen(outcomes: dict[tuple[str, str], Outcome]) -> tuple[dict[str, str], str, list[float]]:
    """What is chosen of them, the table, and after how many seconds each was to be given up."""
    said: list[str] = []
    limits: list[float] = []

    def attempt(settings: dict[str, str], limit: float, better: bool) -> Outcome:
        limits.append(limit)
        return outcomes[settings["precision"], settings["jit"]]

    best, rows = candidates.choose(BOTH, CPU, attempt, said.append)
    assert json.loads(json.dumps(rows))
    return best, said[-1], limits


MINILM = {
    ("float32", "off"): timed(1.75),
    ("mixed_bfloat16", "off"): timed(0.78, loss=1.01),
    ("float32", "on"): timed(1.01, compiled=25.0, jit="on"),
    ("mixed_bfloat16", "on"): timed(3.9, compiled=60.0, jit="on"),
}


def test_the_fastest_is_taken_compilation_counted() -> None:
    best, table, limits = chosen(MINILM)
    assert best == {"precision": "mixed_bfloat16", "jit": "off"}
    assert limits == [600.0, 300.0, 300.0, 300.0]
    rows = [line.split() for line in table.splitlines()]
    assert [row[-1] for row in rows[2:3]] == ["chosen"]
    assert rows[0][-4:] == ["s", "for", "1,000", "steps"]
    assert [row[7] for row in rows[1:]] == ["1,750", "780", "1,060", "4,020"]
    # Of few steps the compilation is most of it.
    short = {
        key: timed(one.step or 0, 2.0 if key[1] == "on" else 0.0, steps=3, jit=key[1]) for key, one in MINILM.items()
    }
    short["float32", "on"] = timed(0.1, compiled=2.0, steps=3, jit="on")
    assert chosen(short)[0] == {"precision": "mixed_bfloat16", "jit": "off"}
    assert chosen(short)[2] == [600.0, 20.0, 20.0, 20.0]


def test_a_candidate_whose_loss_is_off_is_left_out_with_the_reason() -> None:
    best, table, _ = chosen({**MINILM, ("mixed_bfloat16", "off"): timed(0.1, loss=1.06)})
    assert best == {"precision": "float32", "jit": "on"}
    assert "its loss is more than 5% off" in table
    assert chosen({**MINILM, ("mixed_bfloat16", "off"): timed(0.1, loss=float("nan"))})[0] == best


def test_turns_count_and_not_how_busy_the_machine_was() -> None:
    """Each is timed beside the best so far: here other work came up after the first was."""
    better: list[bool] = []

    def attempt(settings: dict[str, str], limit: float, is_better: bool) -> Outcome:
        better.append(is_better)
        return next(outcomes)

    outcomes = iter([timed(1.0), timed(1.5, beside=0.5), timed(0.4, beside=1.2), timed(0.9, beside=0.9)])
    best, rows = candidates.choose(BOTH, CPU, attempt, lambda text: None)
    assert best == {"precision": "mixed_bfloat16", "jit": "on"}
    assert [row["step"] for row in rows] == pytest.approx([1.0, 0.5, 0.6, 0.45])
    assert better == [False, True, True, False]


def test_the_start_of_the_process_does_not_count_against_the_first() -> None:
    first = {**MINILM, ("float32", "off"): timed(0.01, compiled=9.0, steps=5)}
    first["mixed_bfloat16", "off"] = timed(0.03, compiled=2.0, steps=5)
    assert chosen(first)[0] == {"precision": "float32", "jit": "off"}


def test_what_saves_less_than_the_noise_is_not_taken() -> None:
    near = {key: timed(1.0) for key in MINILM}
    near["mixed_bfloat16", "off"] = timed(0.96)
    assert chosen(near)[0] == {"precision": "float32", "jit": "off"}
    near["mixed_bfloat16", "off"] = timed(0.94)
    assert chosen(near)[0] == {"precision": "mixed_bfloat16", "jit": "off"}


def test_what_fails_is_left_out_and_where_all_fail_it_is_said() -> None:
    bad = Outcome(reason="it dies of SIGILL")
    best, table, _ = chosen({**MINILM, ("mixed_bfloat16", "off"): bad})
    assert best == {"precision": "float32", "jit": "on"}
    assert "it dies of SIGILL" in table
    with pytest.raises(RunError, match=r"precision and jit auto: nothing could be measured \(it dies of SIGILL\)"):
        chosen(dict.fromkeys(MINILM, bad))


@pytest.mark.parametrize(
    ("settings", "told", "expected"),
    [
        ({"precision": "auto"}, {}, [{"precision": "float32"}, {"precision": "mixed_bfloat16"}]),
        ({"jit": "auto"}, {}, [{"jit": "off"}, {"jit": "on"}]),
        ({"jit": "auto"}, {"replicas": 2}, [{"jit": "off"}]),
        ({"jit": "auto", "backend": "jax"}, {}, [{"jit": "on"}]),
        ({"precision": "auto"}, {"device": "gpu"}, 3),
        ({"precision": "auto", "jit": "auto"}, {"device": "gpu"}, 6),
    ],
)
def test_the_candidates(settings: dict[str, str], told: dict[str, Any], expected: Any) -> None:
    found = candidates.listed(RunConfig(**settings), {**CPU, **told})
    assert (len(found) if isinstance(expected, int) else found) == expected


def test_what_leaves_no_choice_is_not_measured() -> None:
    config = RunConfig(jit="auto", backend="jax")
    assert candidates.choose(config, CPU, lambda *asked: pytest.fail("measured"), lambda text: None) == (
        {"jit": "on"},
        [],
    )


def test_nothing_is_measured_of_what_is_solved() -> None:
    found = candidates.choose(BOTH, CPU, lambda *asked: Outcome(solved=True), lambda text: None)
    assert found == ({"precision": "float32", "jit": "off"}, [])


def peaking(each: float, base: float = 1 * GB) -> Callable[[int], Outcome]:
    return lambda size: timed(0.01 * size, peak=int(base + each * size))


def test_sizes_are_doubled_until_the_next_would_not_fit() -> None:
    rows = sizes.search(peaking(0.1 * GB), 1, 4_096, 10 * GB)
    assert [row.size for row in rows] == [8, 16, 32, 64]
    assert all(row.fits for row in rows)
    assert rows[-1].reason == "twice as many would take 14 GB"


def test_what_fails_ends_the_search_up_or_down() -> None:
    def attempt(size: int) -> Outcome:
        return timed(0.1) if size <= fitting else Outcome(reason="out of memory")

    fitting = 40
    assert [(row.size, row.fits) for row in sizes.search(attempt, 1, 4_096, None)] == [
        *((8, True), (16, True), (32, True), (64, False)),
    ]
    fitting = 7  # with 3 replicas: 24, 12, 6
    assert [(row.size, row.fits) for row in sizes.search(attempt, 3, 96, None)] == [(24, False), (12, False), (6, True)]
    fitting = 0
    assert [row.size for row in sizes.search(attempt, 1, 4_096, None)] == [8, 4, 2, 1]
    with pytest.raises(RunError, match=r"batch_size auto: not even one example fits \(out of memory\)"):
        sizes.choose(RunConfig(batch_size="auto"), {**CPU, "device": "gpu"}, attempt, lambda text: None)


def test_an_epoch_keeps_some_updates_and_parts_stay_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sizes.largest_tried(1_000_000, 1) == 4_096
    assert sizes.largest_tried(1_000, 1) == 32
    assert sizes.largest_tried(1_000, 6) == 48
    assert sizes.largest_tried(10, 4) == 4
    monkeypatch.setattr(machine, "available_memory", lambda: 20 * GB)
    monkeypatch.setattr(machine, "memory", lambda: 10 * GB)
    config, said = RunConfig(batch_size="auto", accumulate=3), list[str]()
    size, rows = sizes.choose(config, {**CPU, "replicas": 2}, peaking(0.1 * GB), said.append)
    assert size == 48  # 96 take 10.6 of 8
    assert size % 6 == 0
    assert [row["size"] for row in rows] == [48, 96]
    assert said[0].startswith("memory that a training may take here: 8.0 GB")
    assert "learning rate is not changed" in said[1]


def test_slow_steps_end_the_search() -> None:
    rows = sizes.search(lambda size: timed(61.0, peak=GB), 1, 4_096, 10 * GB)
    assert [(row.size, row.reason) for row in rows] == [(8, "a step takes more than 60 s already")]


class FakeBench:
    """Answers as a process would, and counts how often it was asked."""

    asked: list[dict[str, Any]]

    def __init__(self, task: str) -> None:
        del task

    def __enter__(self) -> "FakeBench":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def about(self, settings: dict[str, Any]) -> dict[str, Any]:
        return CPU

    def trial(self, settings: dict[str, Any], batch: str, limit: float, *, better: bool = False) -> Outcome:
        type(self).asked.append({**settings, "batch": batch})
        return timed(0.5 if settings["precision"] == "mixed_bfloat16" else 1.0, peak=GB + settings["batch_size"])


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[FakeBench]:
    FakeBench.asked = []
    monkeypatch.setattr(choices, "Bench", FakeBench)
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path / "cache"))
    return FakeBench


def configured(**settings: Any) -> Any:
    given = {"precision": "auto", "batch_size": "auto", **settings}
    return load_config("image-classification", options=given).config


def test_a_choice_is_remembered_by_what_decides_it(
    bench: type[FakeBench], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, found = choices.choose("image-classification", configured(), Console(), ALONE)
    assert (config.precision, config.jit, config.batch_size) == ("mixed_bfloat16", None, 4_096)
    assert found is not None
    assert found["chosen"] == {"precision": "mixed_bfloat16", "batch_size": 4_096}
    assert not config.open_choices
    assert {"precision", "batch_size"} <= config.model_fields_set
    assert bench.asked[0]["batch_size"] == 64  # the task's own, as long as none is chosen
    assert {one["precision"] for one in bench.asked if one["batch"] == "largest"} == {"mixed_bfloat16"}
    count = len(bench.asked)
    first = capsys.readouterr().err
    again, _ = choices.choose("image-classification", configured(seed=3, save_every="7"), Console(), ALONE)
    assert (again.precision, again.batch_size, again.seed) == ("mixed_bfloat16", 4_096, 3)
    assert len(bench.asked) == count
    second = capsys.readouterr().err
    assert "remembered of" in second
    tables = [line for line in first.splitlines()[1:-1] if not line.startswith("trying: ")]
    assert len(tables) > 8
    assert all(line in second for line in tables)
    for other in ({"width": 48}, {"epochs": 3}, {"accumulate": 2}, {"data": str(tmp_path)}):
        choices.choose("image-classification", configured(**other), Console(), ALONE)
        assert len(bench.asked) > count
        count = len(bench.asked)
    for source in ("data", "pretrain_on"):
        choices.choose("image-classification", configured(**{source: str(tmp_path)}), Console(), ALONE)
        count = len(bench.asked)
        (tmp_path / f"more {source}").mkdir()  # the source has changed
        choices.choose("image-classification", configured(**{source: str(tmp_path)}), Console(), ALONE)
        assert len(bench.asked) > count
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "XLA_FLAGS"):  # other devices
        count = len(bench.asked)
        monkeypatch.setenv(name, "other")
        choices.choose("image-classification", configured(), Console(), ALONE)
        assert len(bench.asked) > count


@pytest.mark.parametrize("damage", ["", "{}", '{"format": 1, "chosen": {"precision": "eval"}}', "\0\0", "[" * 9])
def test_a_damaged_memory_is_said_and_made_anew(
    bench: type[FakeBench], capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = Memory("image-classification", configured(), 1).path
    path.parent.mkdir(parents=True)
    path.write_text(damage)
    choices.choose("image-classification", configured(), Console(), ALONE)
    told = capsys.readouterr().err
    assert told.count(f"warning: {path}") == 1
    assert bench.asked
    assert json.loads(path.read_text())["chosen"]["precision"] == "mixed_bfloat16"


def test_a_memory_that_cannot_be_written_is_said(
    bench: type[FakeBench], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    config, _ = choices.choose("image-classification", configured(), Console(), ALONE)
    assert config.precision == "mixed_bfloat16"
    assert capsys.readouterr().err.count("the choice is not remembered") == 1


def test_several_workers(bench: type[FakeBench]) -> None:
    for rank in (0, 1):
        with pytest.raises(ConfigError, match="batch_size auto: several workers may share a machine and its memory"):
            choices.choose("image-classification", configured(), Console(), Workers(rank, 2))
    config = configured(batch_size=64)
    assert choices.choose("image-classification", config, Console(), Workers(1, 2)) == (config, None)
    assert choices.choose("image-classification", config, Console(), Workers(0, 2))[0].precision == "mixed_bfloat16"
    assert {one["batch_size"] for one in bench.asked} == {32}


def test_where_nothing_is_open_nothing_is_done(bench: type[FakeBench]) -> None:
    config = configured(precision="float32", batch_size=32)
    assert choices.choose("image-classification", config, Console(), ALONE) == (config, None)
    assert not bench.asked


def test_a_measure_of_its_own_and_auto_contradict() -> None:
    with pytest.raises(ConfigError, match="batch_size auto counts examples, and tokens_per_batch is another measure"):
        load_config("text-sentiment", options={"batch_size": "auto", "tokens_per_batch": 4_000})


def test_a_process_that_dies_or_hangs_takes_nobody_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started = f"print({'sixfold trial: ' + json.dumps({'started': True})!r}, flush=True)"
    for code, reason in (
        ("import os; os.kill(os.getpid(), 9)", "it dies of SIGKILL, as where memory runs out"),
        ("import sys; sys.exit('no such thing')", "no such thing"),
        (f"{started}; import time; time.sleep(99)", "given up after 0 s"),
    ):
        monkeypatch.setattr("pipelines.choices.bench._CODE", code)
        with Bench("image-classification") as own:
            assert own.trial({}, "usual", 0.2).reason == reason
            assert own._process is None
    answer = 'print(\'sixfold trial: {"error": "DataError", "message": "no."}\', flush=True)'
    monkeypatch.setattr("pipelines.choices.bench._CODE", answer)
    with Bench("image-classification") as own, pytest.raises(DataError, match=r"^no\.$"):
        own.about({})


def test_a_run_with_everything_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measured once; the next run remembers, and one from its run.yaml has the same weights, to the bit."""
    keras = pytest.importorskip("keras")
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path / "cache"))
    small = ["run", "image-classification", "--backbone", "mlp", "--limit", "40", "--epochs", "1", "--accumulate", "3"]
    auto = ["--precision", "auto", "--jit", "auto", "--batch-size", "auto"]
    ends, told = {}, {}
    for name, words in (
        ("measured", [*small, *auto]),
        ("remembered", [*small, *auto]),
        ("repeated", ["run", "image-classification", "--config", str(tmp_path / "measured" / "run.yaml")]),
    ):
        folder = tmp_path / name
        assert main([*words, "--run-dir", str(folder)]) == 0
        told[name] = capsys.readouterr().err
        events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        ends[name] = next(one["weights"] for one in events if one["event"] == "trained")
    assert "chosen: precision" in told["measured"]
    assert "(measured in" in told["measured"]
    assert "(remembered of" in told["remembered"]
    assert "chosen" not in told["repeated"]
    assert ends["measured"] == ends["remembered"] == ends["repeated"]
    config = load_config("image-classification", file=tmp_path / "measured" / "run.yaml").config
    assert config.batch_size == 3  # in as many parts; of 40 examples no more, for 16 updates
    assert config.precision in ("float32", "mixed_bfloat16")
    assert config.jit in ("on", "off")
    about = json.loads((tmp_path / "measured" / "manifest.json").read_text())
    assert about["asked"]["precision"] == "auto"
    assert about["chosen_by"]["chosen"]["precision"] == config.precision == about["devices"]["precision"]
    assert main([*small, *auto, "--run-dir", str(tmp_path / "measured")]) == 0  # given again, it is the same run
    assert "finished" in capsys.readouterr().err
    keras.config.set_dtype_policy("float32")  # of the process, where the run was made
