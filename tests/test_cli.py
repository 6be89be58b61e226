"""The verbs: what they print, where, and how they exit. What computes is replaced by fakes."""

import errno
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pipelines
from pipelines import registry
from pipelines.cli import main
from pipelines.cli.commands import spread_columns
from pipelines.cli.data import SHOWN
from pipelines.cli.docs import PAGE, page
from pipelines.errors import DataError, RunError
from pipelines.shards import Shard
from pipelines.task import CheckReport, Problem

ROOT = Path(__file__).resolve().parent.parent
TASK = "image-classification"
HEAVY = ("tensorflow", "keras", "jax", "sklearn", "matplotlib")
CHEAP = [
    "--help",
    "tasks",
    "run --help",
    f"run {TASK} --help",
    f"recipes {TASK}",
    f"config show {TASK}",
    f"config show {TASK} --yaml",
    f"config validate {TASK}",
    f"config schema {TASK}",
    f"data check {TASK} --help",
    "evaluate --help",
    "predict --help",
    f"predict --schema {TASK}",
    "report --help",
    "doctor --help",
    "launch --help",
    f"submit {TASK} --to slurm --dry-run",
]
Fake = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Replaces a module by one with a single function, whose calls are recorded."""

    def put(module: str, function: str, result: Any = None) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def record(*args: Any, **named: Any) -> Any:
            calls.append({"args": args, **named})
            if isinstance(result, BaseException):
                raise result
            return result

        replacement = types.ModuleType(module)
        setattr(replacement, function, record)
        monkeypatch.setitem(sys.modules, module, replacement)
        monkeypatch.setattr(pipelines, module.rpartition(".")[2], replacement, raising=False)
        return calls

    return put


def run_sixfold(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "pipelines.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


@pytest.mark.parametrize("words", CHEAP)
def test_cheap_verbs_load_nothing_heavy(words: str) -> None:
    code = (
        "import sys\nfrom pipelines.cli import main\n"
        f"code = main({words.split()!r})\n"
        f"print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)\nsys.exit(code)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or words.startswith("recipes")
    if not words.startswith("recipes"):
        assert done.stderr.split() == []
    assert not set(HEAVY) & set(done.stderr.split())


@pytest.mark.parametrize("words", ["--help", "tasks", "run --help", "launch --help", "doctor --help"])
def test_what_knows_no_settings_does_not_load_them(words: str) -> None:
    code = f"import sys\nfrom pipelines.cli import main\nmain({words.split()!r})\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert not {"numpy", "pydantic"} & set(done.stderr.split())


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    without = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == without
    verbs = ("tasks", "run", "launch", "recipes", "config", "data", "evaluate", "predict", "report", "doctor")
    assert all(f"\n  {verb} " in without for verb in verbs)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sixfold {pipelines.__version__}\n"


def test_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(registry.TASKS)


@pytest.mark.parametrize("task", registry.TASKS)
def test_help_lists_every_field_with_its_default_in_groups(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", task, "--help"]) == 0
    text = capsys.readouterr().out
    fields = registry.config_class(task).model_fields
    for name in fields:
        assert re.search(rf"--{name.replace('_', '-')}[ ,]", text)
    for name in ("Data:", "Model:", "Training:", "Runtime:", "Options:"):
        assert f"\n{name}\n" in text
    assert text.count("default:") == len(fields)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("rn", "unknown command 'rn': did you mean run?; see `sixfold --help`."),
        ("config sho", "unknown command 'sho': did you mean show?; see `sixfold config --help`."),
        ("xyz", "unknown command 'xyz': there are: tasks, run, resume, launch, recipes, config, data, evaluate, "
         "predict, export, report, verify, doctor, merge, submit, jobs, logs, cancel; see `sixfold --help`."),
        ("run image-clasification", "unknown task 'image-clasification': did you mean image-classification?"),
        ("recipes image_classification", "unknown task 'image_classification': did you mean image-classification?"),
        (f"run {TASK} --epoch 3", "unknown option --epoch: did you mean --epochs?"),
        (f"run {TASK} --batch_size 3", "unknown option --batch_size: did you mean --batch-size?"),
        (f"run {TASK} --qq 3", f"unknown option --qq; `sixfold run {TASK} --help` lists those there are."),
        (f"run {TASK} --epochs", f"Option '--epochs' requires an argument; see `sixfold run {TASK} --help`."),
        (f"run {TASK} extra", f"Got unexpected extra argument (extra); see `sixfold run {TASK} --help`."),
        (f"run {TASK} --epochs 0", "--epochs takes a whole number of at least 1, not 0."),
        (f"run {TASK} --columns image", "--columns image: write name=column pairs, as in image=path label=class; "
         "'image' is none."),
        (f"run {TASK} --recipe nope", f"unknown recipe 'nope' of {TASK}: "),
        (f"run {TASK} --config nope.yaml", "nope.yaml: there is no such file; --config takes a YAML file of settings."),
        ("evaluate", "Missing argument 'RUN'; see `sixfold evaluate --help`."),
        ("evaluate x --columns y", "--columns y: write name=column pairs, as in image=path label=class; 'y' is none."),
        ("predict x", "Missing argument 'INPUT...', or --data INPUT; see `sixfold predict --help`."),
        ("predict x y --data z", "INPUT 'y' and --data 'z' say the same: give one of them; see "
         "`sixfold predict --help`."),
        ("predict x y --top-k 0", "Invalid value for '--top-k' / '-k': 0 is not in the range x>=1; "
         "see `sixfold predict --help`."),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence_and_exit_2(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {sentence}")
    assert err.count("\n") == 1


def test_run_gets_task_config_and_command(fake: Fake) -> None:
    calls = fake("pipelines.engine", "execute")
    words = ["run", TASK, "--batch-size", "64", "--columns", "image=the path", "label=class", "--no-deterministic"]
    assert main(words) == 0
    task, config, command, _ = calls[0]["args"]
    assert (task, command) == (TASK, ["sixfold", *words])
    assert (config.batch_size, config.deterministic) == (64, False)
    assert config.columns == {"image": "the path", "label": "class"}


def test_none_resets_what_a_file_set(tmp_path: Path, fake: Fake) -> None:
    calls = fake("pipelines.engine", "execute")
    file = tmp_path / "run.yaml"
    file.write_text("limit: 5\ncolumns: image=path\nvalid: photos/\n", encoding="utf-8")
    words = ["--limit", "none", "--columns", "none", "--valid", "none"]
    assert main(["run", TASK, "--config", str(file), *words]) == 0
    config = calls[0]["args"][1]
    assert (config.limit, config.columns, config.valid) == (None, None, None)


@pytest.mark.parametrize(
    ("words", "spread"),
    [
        ("--columns a=b c=d --x y=z", "--columns a=b --columns c=d --x y=z"),
        ("--columns=a=b c=d e", "--columns=a=b --columns c=d e"),
        ("--columns none a=b", "--columns none --columns a=b"),
        ("--columns a=b -- c=d", "--columns a=b -- c=d"),
        ("--columns", "--columns"),
        ("x a=b", "x a=b"),
    ],
)
def test_columns_take_the_pairs_that_follow(words: str, spread: str) -> None:
    assert spread_columns(words.split()) == spread.split()


def test_errors_have_their_exit_code(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake("pipelines.engine", "execute", RunError("the loss is NaN at step 3: lower learning_rate."))
    assert main(["run", TASK]) == 5
    assert capsys.readouterr().err == "error: the loss is NaN at step 3: lower learning_rate.\n"


def test_an_interrupt_is_one_line(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake("pipelines.engine", "execute", KeyboardInterrupt())
    assert main(["run", TASK]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_anything_else_keeps_its_traceback(fake: Fake) -> None:
    fake("pipelines.engine", "execute", ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main(["run", TASK])


def test_too_little_memory_is_one_sentence(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    from tensorflow.errors import ResourceExhaustedError

    jax = RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes.")
    for error in (MemoryError(), ResourceExhaustedError(None, None, "OOM when allocating tensor"), jax):
        fake("pipelines.engine", "execute", error)
        assert main(["run", TASK]) == 5
        assert capsys.readouterr().err.startswith("error: there is not enough memory for this. What a run has finished")


def test_a_closed_pipe_is_quiet() -> None:
    code = f"import sys; from pipelines.cli import main; sys.exit(main(['config', 'show', {TASK!r}]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60, env=environment,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_config_show_says_where_values_come_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("epochs: 3\n", encoding="utf-8")
    assert main(["config", "show", TASK, "--config", str(file), "--seed", "4"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["setting"].split() == ["value", "from"]
    assert rows["epochs"].split(maxsplit=1) == ["3", f"{file} line 1"]
    assert rows["seed"].split() == ["4", "--seed"]
    assert rows["batch_size"].split() == ["64", "default"]


def test_config_show_yaml_prints_a_file_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", TASK, "--yaml", "--epochs", "3"]) == 0
    text = capsys.readouterr().out
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    assert main(["config", "show", TASK, "--yaml", "--config", str(file)]) == 0
    assert capsys.readouterr().out == text
    lines = text.splitlines()
    assert "epochs: 3" in lines
    assert "#batch_size: 64" in lines, "what was not set stays open to what the data decides"


def test_config_validate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "validate", TASK, "--epochs", "3"]) == 0
    assert capsys.readouterr().out.startswith("ok: ")
    assert main(["config", "validate", TASK, "--epochs", "0", "--seed", "x"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == "error: 2 settings are wrong:"


def test_config_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema", TASK]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == f"Settings of {TASK}"


def test_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(registry, "folder", lambda task: tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "small.yaml").write_text("# sixfold run x\n# accuracy 0.9\nepochs: 1\n", encoding="utf-8")
    assert main(["recipes", TASK]) == 0
    assert capsys.readouterr().out == "small\n    sixfold run x\n    accuracy 0.9\n"


def check_with(monkeypatch: pytest.MonkeyPatch, problems: list[Problem]) -> list[Any]:
    seen: list[Any] = []

    def check_data(config: Any, advance: Callable[[int, int], None]) -> CheckReport:
        seen.append(config)
        advance(1, 2)
        advance(2, 2)
        return CheckReport(problems, {"counts": {"train": 8, "test": 2}})

    module = types.ModuleType("fake data")
    monkeypatch.setattr(module, "check_data", check_data, raising=False)
    monkeypatch.setattr(registry, "load_data_module", lambda task: module)
    return seen


def test_data_check_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    problems = [
        Problem("warning", "imbalance", "train", "one class has 9 of 10."),
        Problem("error", "undecodable", "ants/a.gif", "GIF is not read: convert it."),
        Problem("error", "missing-file", "ants/a\nerror: \x1b[2J\u202eb.gif", "does not exist."),
    ]
    seen = check_with(monkeypatch, problems)
    assert main(["data", "check", TASK, "--data", "photos"]) == 3
    assert seen[0].data == "photos"
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "error: ants/a.gif: GIF is not read: convert it. [undecodable]",
        r"error: ants/a\nerror: \x1b[2J\u202eb.gif: does not exist. [missing-file]",
        "warning: train: one class has 9 of 10. [imbalance]",
        "read: train 8, test 2",
        "2 errors, 1 warning",
    ]
    assert err == ""


def test_data_check_json_and_long_lists(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    check_with(monkeypatch, [Problem("warning", "twin", str(row), "twice") for row in range(SHOWN + 3)])
    assert main(["data", "check", TASK]) == 0
    assert capsys.readouterr().out.splitlines()[SHOWN] == "warning: and 3 more [twin]; --json lists all."
    assert main(["data", "check", TASK, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (len(report["problems"]), report["errors"], report["summary"]["counts"]["test"]) == (SHOWN + 3, 0, 2)


def test_data_check_json_of_a_source_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check_data(config: Any, advance: Callable[[int, int], None]) -> CheckReport:
        raise DataError("photos does not exist.")

    module = types.ModuleType("fake data")
    monkeypatch.setattr(module, "check_data", check_data, raising=False)
    monkeypatch.setattr(registry, "load_data_module", lambda task: module)
    assert main(["data", "check", TASK, "--data", "photos", "--json"]) == 3
    out, err = capsys.readouterr()
    problem = {"level": "error", "kind": "source", "where": "photos", "message": "photos does not exist."}
    assert json.loads(out) == {"problems": [problem], "summary": {}, "errors": 1}
    assert err == "error: photos does not exist.\n"


METRICS = {
    "task": TASK,
    "split": "test",
    "examples": 1821,
    "protocol": "The test split as given.",
    "headline": "accuracy",
    "scores": {
        "log_loss": {"value": 0.3, "low": None, "high": None},
        "accuracy": {"value": 0.8825, "low": 0.867, "high": 0.897},
    },
    "baseline": {"name": "logistic regression", "scores": {"accuracy": {"value": 0.8, "low": 0.7, "high": 0.9}}},
}


def test_evaluate(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = fake("pipelines.evaluation", "evaluate", METRICS)
    words = ["evaluate", "runs/a", "--data", "photos", "--columns", "image=a", "label=b", "--encoding", "cp1252"]
    assert main(words) == 0
    assert calls[0]["args"] == (
        Path("runs/a"),
        {"data": "photos", "columns": {"image": "a", "label": "b"}, "encoding": "cp1252"},
    )
    assert capsys.readouterr().out.splitlines() == [
        "            test  95 % interval     logistic regression",
        "accuracy  0.8825  0.8670 to 0.8970               0.8000",
        "log_loss  0.3000  -                                   -",
        "The test split as given.",
        "1,821 examples",
    ]
    output = tmp_path / "scores.json"
    assert main(["evaluate", "runs/a", "--json", "--output", str(output)]) == 0
    assert calls[1]["args"] == (Path("runs/a"), {})
    assert json.loads(capsys.readouterr().out) == METRICS == json.loads(output.read_text(encoding="utf-8"))


def test_evaluate_writes_through_what_is_no_plain_file(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake("pipelines.evaluation", "evaluate", METRICS)
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    for _ in range(2):
        assert main(["evaluate", "runs/a", "--output", str(link)]) == 0
        assert json.loads(file.read_text(encoding="utf-8")) == METRICS
    assert link.is_symlink()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert main(["evaluate", "runs/a", "--output", str(fifo)]) == 0
    assert json.loads(os.read(reading, 10_000)) == METRICS
    os.close(reading)
    assert fifo.is_fifo()
    assert main(["evaluate", "runs/a", "--output", os.devnull]) == 0
    assert Path(os.devnull).is_char_device()
    capsys.readouterr()
    assert main(["evaluate", "runs/a", "--output", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == METRICS


def test_predictions_are_written_through_what_is_no_plain_file(tmp_path: Path) -> None:
    from pipelines.prediction import _opened

    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    for output in (link, Path(os.devnull)):
        with _opened(output) as opened:
            opened.write("a record\n")
    assert link.is_symlink()
    assert file.read_text(encoding="utf-8") == "a record\n"
    assert Path(os.devnull).is_char_device()


def test_evaluate_where_the_output_cannot_be_written(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake("pipelines.evaluation", "evaluate", {key: value for key, value in METRICS.items() if key != "baseline"})
    (tmp_path / "file").touch()
    assert main(["evaluate", "runs/a", "--output", str(tmp_path / "file" / "scores.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_predict(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    counts = types.SimpleNamespace(records=3, bad=1)
    calls = fake("pipelines.prediction", "predict", counts)
    words = "predict runs/a photo.jpg - --top-k 3 --format csv --output out.csv --max-bad 0.5 --columns image=a"
    assert main(words.split()) == 0
    assert calls == [
        {
            "args": (Path("runs/a"), ["photo.jpg", "-"]),
            "output": Path("out.csv"),
            "format": "csv",
            "options": {"top_k": 3, "columns": {"image": "a"}, "encoding": "utf-8"},
            "max_bad": 0.5,
            "shard": None,
        }
    ]
    assert capsys.readouterr() == ("", "3 records in out.csv, 1 of them errors\n")
    assert main(["predict", "runs/a", "photo.jpg"]) == 0
    assert (calls[1]["output"], calls[1]["format"], calls[1]["options"]) == (None, "jsonl", {"encoding": "utf-8"})
    assert main(["predict", "runs/a", "texts.csv", "--encoding", "Windows-1252"]) == 0
    assert calls[2]["options"] == {"encoding": "cp1252"}
    assert main(["predict", "runs/a", "--data", "latest.csv", "--columns", "image=a", "--data", "-"]) == 0
    assert calls[3]["args"] == (Path("runs/a"), ["latest.csv", "-"])
    capsys.readouterr()
    assert main(["predict", "runs/a", "texts.csv", "--encoding", "rot13"]) == 2
    assert capsys.readouterr().err.startswith("error: --encoding: 'rot13' is no encoding of text")
    for words in ("a.csv --shard 0/3", "- --shard 0/3 --output out", "a.csv --merge", "a.csv --output out --shard 3/3"):
        assert main(["predict", "runs/a", *words.split()]) == 2
    assert main(["predict", "runs/a", "a.csv", "--output", "out", "--shard", "2/3"]) == 0
    assert (calls[4]["output"], calls[4]["shard"]) == (Path("out"), Shard(2, 3))
    assert capsys.readouterr().err.endswith("shard 2/3: 3 records\n")


def predict_by_beam(*words: str) -> int:
    """A run and an input that are there, or main would say so."""
    Path("runs/a/model").mkdir(parents=True, exist_ok=True)
    Path("runs/a/run.yaml").touch()
    Path("runs/a/manifest.json").write_text(f'{{"task": "{TASK}"}}', encoding="utf-8")
    Path("a.csv").write_text("image\n")
    return main(["predict", "runs/a", "a.csv", "--output", "out", *words])


def test_predict_by_beam(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    calls, merged = fake("pipelines.beam", "predict", 5), []
    monkeypatch.setattr("pipelines.shards.merge", lambda output, again: merged.append(output) or (7, 2))
    assert predict_by_beam("--runner", "beam", "--shards", "8", "--beam=--runner=X", "--beam=--y", "--top-k", "3") == 0
    about = {"run_dir": Path("runs/a"), "inputs": ["a.csv"], "output": Path("out"), "format": "jsonl", "max_bad": 0.01}
    about["options"] = {"encoding": "utf-8", "top_k": 3}
    assert calls == [{"args": (about,), "shards": 8, "options": ("--runner=X", "--y")}]
    assert merged == [Path("out")]
    assert capsys.readouterr().err == (
        "3 of 8 parts were there already\n7 records in out, 2 of them errors, which are also in out.bad.jsonl\n"
    )
    for words in ("--shards 8", "--beam=--y", "--runner beam --shard 0/3", "--runner beam -", "--runner beam none.csv"):
        assert predict_by_beam(*words.split()) == 2, words
    assert main(["predict", "runs/a", "a.csv", "--runner", "beam"]) == 2
    assert len(calls) == 1


def test_predict_by_beam_without_beam(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert predict_by_beam("--runner", "beam") == 2
    assert capsys.readouterr().err.startswith("error: --runner beam needs the package apache_beam, the extra [beam]")


def test_report(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    calls = fake("pipelines.report", "write_report", Path("runs/a/report.html"))
    assert main(["report", "runs/a"]) == 0
    assert calls[0]["args"] == (Path("runs/a"),)
    out, err = capsys.readouterr()
    assert out == "runs/a/report.html\n"
    assert err == "note: the run in runs/a is unfinished, and so is its report, which says what is missing.\n"


def test_report_of_a_finished_run_has_no_note(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake("pipelines.report", "write_report", tmp_path / "report.html")
    (tmp_path / "manifest.json").write_text(f'{{"task": "{TASK}", "files": {{}}}}', encoding="utf-8")
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""


def test_a_folder_in_the_report_s_place_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text(f"task: {TASK}\n", encoding="utf-8")
    (tmp_path / "report.html").mkdir()
    assert main(["report", str(tmp_path)]) == 1
    assert capsys.readouterr() == ("", f"error: {tmp_path}/report.html: Is a directory\n")


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.ENAMETOOLONG]
)
def test_what_the_system_refuses_is_one_sentence(number: int, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake("pipelines.report", "write_report", OSError(number, os.strerror(number), "runs/a/report.html"))
    assert main(["report", "runs/a"]) == 1
    assert capsys.readouterr() == ("", f"error: runs/a/report.html: {os.strerror(number)}\n")


def test_an_error_without_a_number_keeps_its_traceback(fake: Fake) -> None:
    fake("pipelines.report", "write_report", OSError("a bug"))
    with pytest.raises(OSError, match="a bug"):
        main(["report", "runs/a"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_standard_output_is_one_sentence() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipelines.cli", "config", "show", TASK]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60, env=environment
        )
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_signs_that_an_output_cannot_show_are_escaped_and_json_stays_json() -> None:
    code = (
        "import json, sys\nfrom pipelines.cli import main\n"
        f"main(['config', 'validate', {TASK!r}, '--optimizer', 'b\\udce9🐜'])\n"
        "print(json.dumps('é🐜\\udce9', ensure_ascii=False))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.startswith("error: --optimizer takes one of ")
    assert json.loads(done.stdout) == "é🐜\udce9"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sixfold ru", ["run"]),
        ("sixfold run im", ["image-classification"]),
        ("sixfold recipes im", ["image-classification"]),
        (f"sixfold run {TASK} --batch", ["--batch-size"]),
        (f"sixfold run {TASK} --optimizer ad", ["adam", "adamw"]),
        (f"sixfold config show {TASK} --optimizer ad", ["adam", "adamw"]),
    ],
)
def test_shell_completion(line: str, words: list[str]) -> None:
    variables = {"_SIXFOLD_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    done = run_sixfold(**variables)
    assert done.stderr == ""
    assert [entry.rpartition(",")[2] for entry in done.stdout.split()] == words


def test_recipe_names_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "small.yaml").write_text("epochs: 1\n", encoding="utf-8")
    monkeypatch.setattr(registry, "folder", lambda task: tmp_path)
    monkeypatch.setenv("_SIXFOLD_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", f"sixfold run {TASK} --recipe s")
    monkeypatch.setenv("COMP_CWORD", "4")
    main([])
    assert capsys.readouterr().out.split() == ["plain", "small", "_"]


def test_docs_are_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m pipelines.cli.docs`"


def test_counts_of_classes_called_by_numbers_can_be_read() -> None:
    from pipelines.cli.data import _classes

    assert _classes({"0": 3310, "1": 3610}) == "0 (3,310), 1 (3,610)"
