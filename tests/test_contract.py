"""What every task keeps, parametrised over the registry: registering a task tests it."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from jsonschema import Draft202012Validator
from PIL import Image

from pipelines import registry, report
from pipelines.api import evaluate, predict
from pipelines.cli import main
from pipelines.config import load_config
from pipelines.pairing import load_judged
from pipelines.predictions import schema
from pipelines.runs import Run
from tests.conftest import QUICK_TO_COMPILE

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
TASKS = list(registry.TASKS)
LOADS = ("time=time", "series=series", "value=load", "known=event", "static=kind")
"""What the columns of a table like the sample of series are."""


def child(*words: object, **environment: str) -> None:
    """A run in a process of its own; its output if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **environment}
    command = [sys.executable, str(Path(__file__).parent / "contract_run.py"), *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1100)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module", params=TASKS)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(task, folder) with a small run in `first` and its repetition from run.yaml in `second`."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("first", "second"):
        child("run", request.param, folder / name)
    return request.param, folder


@pytest.mark.parametrize("task", TASKS)
def test_help_lists_every_field(task: str) -> None:
    words = [sys.executable, "-m", "pipelines.cli", "run", task, "--help"]
    text = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name, field in registry.config_class(task).model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert (field.description or "?")[:20] in " ".join(text.split())


@pytest.mark.parametrize("task", TASKS)
def test_config_and_data_load_no_framework(task: str) -> None:
    code = (
        "import sys; from pipelines import registry; "
        f"registry.config_class({task!r}); registry.load_data_module({task!r}); "
        "print([name for name in ('tensorflow', 'keras', 'jax', 'matplotlib') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize("task", TASKS)
def test_golden(task: str) -> None:
    """Defaults, size and shapes change on purpose only: delete the file to write it anew."""
    from pipelines import devices

    config: Any = load_config(task, options={"limit": 40}).config
    asked = config.model_dump(mode="json")
    devices.start(config)
    record = registry.task(task)
    data = record.load_data(config)
    config = record.resolve(config, data)
    model = record.build_model(config, data.assets).model
    found = {
        "defaults": load_config(task).config.model_dump(mode="json"),
        "resolved": {name: value for name, value in config.model_dump(mode="json").items() if value != asked[name]},
        "parameters": model.count_params(),
        "inputs": [[list(one.shape), str(one.dtype)] for one in model.inputs],
        "outputs": [[list(one.shape), str(one.dtype)] for one in model.outputs],
    }
    file = GOLDEN / f"{task}.json"
    if not file.exists():
        file.write_text(json.dumps(found, indent=1) + "\n")
        pytest.fail(f"{file.name} was missing and is now written: look at it and commit it.")
    assert json.loads(json.dumps(found)) == json.loads(file.read_text())


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the losses of every task on one and on two devices; a process has so many, whatever the task."""
    folder = tmp_path_factory.mktemp("followed")
    for logical in (1, 2):
        child("losses", ",".join(TASKS), folder, logical)
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_two_devices_follow_one(task: str, followed: Path) -> None:
    one, two = (json.loads((followed / f"{task}-{logical}.json").read_text()) for logical in (1, 2))
    assert len(one) == 20
    assert np.mean(one[-5:]) < np.mean(one[:5])  # the last epoch against the first
    np.testing.assert_allclose(two, one, rtol=1e-5)


@pytest.fixture(scope="module")
def runs_on_jax(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small run of every task."""
    pytest.importorskip("jax", reason="the JAX backend is an extra")
    folder = tmp_path_factory.mktemp("jax")
    child("runs", ",".join(TASKS), folder, "jax", **QUICK_TO_COMPILE)
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_it_runs_on_jax(task: str, runs_on_jax: Path) -> None:
    run = Run(runs_on_jax / task)
    assert "JAX" in json.loads((run.path / "manifest.json").read_text())["device"]
    first, last = (run.events("epoch")[which]["train"]["loss"] for which in (0, -1))
    assert last < first  # two epochs of 80 examples teach little, so no score is asked of them
    metrics = json.loads((run.path / "metrics.json").read_text())
    headline = metrics["scores"][metrics["headline"]]
    assert headline["low"] <= headline["value"] <= headline["high"]


def test_the_same_settings_give_the_same_bits(runs: tuple[str, Path]) -> None:
    _, folder = runs
    first, second = (Run(folder / name).events("trained")[-1]["weights"] for name in ("first", "second"))
    assert first == second
    for file in ("metrics.json", "predictions.jsonl", "run.yaml"):
        assert (folder / "first" / file).read_bytes() == (folder / "second" / file).read_bytes(), file


def test_the_run_folder_is_whole(runs: tuple[str, Path]) -> None:
    task, folder = runs
    run = folder / "first"
    names = {
        "run.yaml",
        "manifest.json",
        "events.jsonl",
        "metrics.json",
        "predictions.jsonl",
        "resamples.safetensors",
        "report.html",
        "MODEL_CARD.md",
        "tensorboard",
    }
    assert names <= {file.name for file in run.iterdir()}
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"task", "split", "examples", "protocol", "headline", "scores", "baseline"} <= metrics.keys()
    assert metrics["task"] == task
    assert metrics["headline"] in metrics["scores"].keys() & metrics["baseline"]["scores"].keys()
    manifest = json.loads((run / "manifest.json").read_text())
    assert {"versions", "seed", "fingerprint", "command", "files", "device"} <= manifest.keys()
    assert len((run / "predictions.jsonl").read_text().splitlines()) == metrics["examples"]
    assert not list(run.rglob(".*"))


def test_the_saved_model_scores_the_same_again(runs: tuple[str, Path]) -> None:
    _, folder = runs
    again = evaluate(folder / "first")
    kept = json.loads((folder / "first" / "metrics.json").read_text())
    assert again["scores"] == kept["scores"]


def test_tensorboard_has_train_and_valid(runs: tuple[str, Path]) -> None:
    task, folder = runs
    board = folder / "first" / "tensorboard"
    for split in ("train", "valid", "test"):
        (file,) = (board / split).glob("*tfevents*")
        found = [one for one in tf.compat.v1.train.summary_iterator(str(file)) if one.summary.value]
        assert len(found) == (1 if split == "test" else 2), (task, split)
        assert {"loss"} <= {value.tag for value in found[-1].summary.value} or split == "test"


def test_two_runs_of_a_task_make_pairs(runs: tuple[str, Path]) -> None:
    """The same answers have the same scores, on every resample."""
    _, folder = runs
    comparison = report.compare([folder / "first", folder / "second"])
    found = comparison.others[0].differences
    assert comparison.others[0].why == ""
    assert comparison.headline in found
    assert all((one.value, one.low, one.high) == (0, 0, 0) for one in found.values())
    assert comparison.settings == {}
    own = load_judged(folder / "first")
    (first,) = (comparison.first.scores[comparison.headline],)
    drawn = own.resamples[comparison.headline]
    assert (first["low"], first["high"]) == pytest.approx(tuple(np.percentile(drawn[np.isfinite(drawn)], (2.5, 97.5))))
    metrics = json.loads((folder / "first" / "metrics.json").read_text())
    assert metrics["baseline"]["difference"][comparison.headline]["low"] is not None


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_what_predict_writes_has_the_shape_of_all(
    runs: tuple[str, Path], format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, folder = runs
    document = schema(task)
    named = [str(tmp_path / "nowhere.bin"), *predictable(task, tmp_path)]
    assert main(["predict", str(folder / "first"), "--format", format, "--max-bad", "1", *named]) == 0
    out = capsys.readouterr().out
    if format == "jsonl":
        lines = [json.loads(line) for line in out.splitlines()]
        checker = Draft202012Validator(document)
        kept = (folder / "first" / "predictions.jsonl").read_text().splitlines()
        for line in map(json.loads, kept):
            assert "target" in line
            checker.validate(line)
    else:
        table = csv.DictReader(io.StringIO(out))
        assert table.fieldnames is not None
        assert (table.fieldnames[0], table.fieldnames[-1]) == ("id", "error")
        checker = Draft202012Validator({"$ref": "#/$defs/Row", "$defs": document["$defs"]})
        lines = [cells(row, document["$defs"]["Row"]["properties"]) for row in table]
    for line in lines:
        checker.validate(line)
    assert [set(line) for line in lines if "error" in line] == [{"id", "error"}]
    assert len(lines) > 2


def predictable(task: str, folder: Path) -> list[str]:
    """Two inputs or more, as a person has them, and the options that they take."""
    random = np.random.default_rng(0)
    texts = [folder / f"{number}.txt" for number in range(2)]
    for text in texts:
        text.write_text("twenty-one and five\n", encoding="utf-8")
    table = folder / "loads.csv"
    hours = [f"2024-03-{1 + hour // 24:02} {hour % 24:02}:00" for hour in range(24 * 20)]
    rows = [
        f"{hour},{site},{'' if place >= 24 * 19 else random.random()},0,office"  # a day ahead the event is known
        for site in ("site 1", "site 2")
        for place, hour in enumerate(hours)
    ]
    table.write_text("\n".join(["time,series,load,event,kind", *rows, ""]), encoding="utf-8")
    users = folder / "users.txt"
    users.write_text("u001\nu002\nnobody\n", encoding="utf-8")
    images, sounds = ([folder / f"{number}.{kind}" for number in range(2)] for kind in ("png", "wav"))
    for image, sound in zip(images, sounds, strict=True):
        Image.fromarray(random.integers(0, 255, (8, 8), dtype=np.uint8)).save(image)
        soundfile.write(sound, 0.1 * random.normal(size=24_000), 16_000)
    return {
        "image-classification": [str(image) for image in images],
        "text-sentiment": [str(text) for text in texts],
        "translation": [str(text) for text in texts],
        "speech-recognition": [str(sound) for sound in sounds],
        "time-series-forecasting": [str(table), "--columns", *LOADS],
        "recommendation": [str(users)],
    }[task]


def cells(row: dict[str, str], fields: dict[str, Any]) -> dict[str, Any]:
    """A row of CSV with numbers where its fields are numbers, without its empty cells."""
    texts = {name for name, field in fields.items() if field.get("type") == "string" or "enum" in field}
    return {name: cell if name in texts else json.loads(cell) for name, cell in row.items() if cell}


def test_a_missing_input_is_a_record_with_an_error(runs: tuple[str, Path], tmp_path: Path) -> None:
    _, folder = runs
    records = list(predict(folder / "first", [tmp_path / "nowhere.bin"]))
    assert [set(record) for record in records] == [{"id", "error"}]
