"""What every task keeps, parametrised over the registry: registering a task tests it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import registry
from pipelines.api import evaluate, predict
from pipelines.config import load_config
from pipelines.runs import Run
from tests.conftest import QUICK_TO_COMPILE

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
TASKS = list(registry.TASKS)


def child(*words: object, **environment: str) -> None:
    """A run in a process of its own; its output if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **environment}
    command = [sys.executable, str(Path(__file__).parent / "contract_run.py"), *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=560)
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


@pytest.mark.parametrize("task", TASKS)
def test_two_devices_follow_one(task: str, tmp_path: Path) -> None:
    for logical in (1, 2):
        child("losses", task, tmp_path, logical)
    one, two = (json.loads((tmp_path / f"losses-{logical}.json").read_text()) for logical in (1, 2))
    assert len(one) == 20
    assert np.mean(one[-5:]) < np.mean(one[:5])  # the last epoch against the first
    np.testing.assert_allclose(two, one, rtol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_it_runs_on_jax(task: str, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="the JAX backend is an extra")
    child("run", task, tmp_path / "run", "jax", **QUICK_TO_COMPILE)
    run = Run(tmp_path / "run")
    assert "JAX" in json.loads((tmp_path / "run" / "manifest.json").read_text())["device"]
    first, last = (run.events("epoch")[which]["train"]["loss"] for which in (0, -1))
    assert last < first  # two epochs of 80 examples teach little, so no score is asked of them
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
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
        "report.html",
        "MODEL_CARD.md",
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


def test_a_missing_input_is_a_record_with_an_error(runs: tuple[str, Path], tmp_path: Path) -> None:
    _, folder = runs
    records = list(predict(folder / "first", [tmp_path / "nowhere.bin"]))
    assert [set(record) for record in records] == [{"id", "error"}]
