"""A run and its folder: finished, cut off, changed, overwritten, damaged."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines import evaluate, predict, registry, run
from pipelines.cli.running import metrics_text
from pipelines.errors import ConfigError, DataError, RunError, SixfoldError, StateError
from pipelines.execution import Execution
from pipelines.prediction import predict as predict_to
from pipelines.runs import Run
from pipelines.task import Baseline

pytestmark = pytest.mark.usefixtures("unserved")

SMALL = {"backbone": "mlp", "hidden": (8,), "limit": 60, "epochs": 2, "batch_size": 16, "baseline_iterations": 5}


def small(folder: Path, **settings: Any) -> Any:
    return run("image-classification", **{**SMALL, "run_dir": str(folder), **settings})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "finished"
    small(folder)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    random = np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 128)):
        (folder / label).mkdir(parents=True)
        for i in range(20):
            pixels = random.integers(low, low + 128, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


def stages(folder: Path) -> list[tuple[str, str]]:
    return [(event["name"], event["status"]) for event in Run(folder).events("stage")]


def test_a_finished_run_has_nothing_to_do(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = stages(finished)
    result = small(finished)
    assert "is finished (done): nothing to do" in capsys.readouterr().err
    assert stages(finished) == before
    assert 0 <= result.headline <= 1


def test_a_folder_of_other_settings_is_refused(finished: Path) -> None:
    with pytest.raises(ConfigError, match=r"epochs 2 there, 3 here, and its training is over\): leave them"):
        small(finished, epochs=3)


def test_overwrite_replaces_a_run(copied: Path) -> None:
    small(copied, epochs=1, overwrite=True)
    assert len(Run(copied).events("epoch")) == 1
    assert [entry.name for entry in copied.parent.iterdir()] == [copied.name]


def test_overwrite_takes_nothing_but_a_run(copied: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "run.yaml").write_text("epochs: 1")
    (mine / "thesis.txt").write_text("precious")
    with pytest.raises(StateError, match=r"no manifest\.json"):
        small(mine, overwrite=True)
    with pytest.raises(SixfoldError):
        small(mine)
    assert (mine / "thesis.txt").read_text() == "precious"
    (copied / "note.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds more than a run \(note\.txt\)"):
        small(copied, overwrite=True)
    assert (copied / "note.txt").exists()


@pytest.mark.parametrize("broken", [{"data": "nowhere"}, {"device": "gpu"}])
def test_overwrite_waits_until_the_data_are_read(copied: Path, broken: dict[str, str]) -> None:
    before = Run(copied).checksums()
    with pytest.raises(SixfoldError):
        small(copied, overwrite=True, **broken)
    assert Run(copied).checksums() == before
    assert [entry.name for entry in copied.parent.iterdir()] == [copied.name]


def test_what_a_killed_overwrite_had_set_aside_is_not_lost(copied: Path, tmp_path: Path) -> None:
    before = Run(copied).checksums()
    aside = copied.with_name(f".{copied.name}.replaced")
    copied.rename(aside)
    copied.mkdir()
    for name in ("run.yaml", "manifest.json"):
        shutil.copy(aside / name, copied / name)  # as far as a killed run comes before its data are read
    with pytest.raises(SixfoldError):
        small(copied, overwrite=True, data="nowhere")
    assert Run(copied).checksums() == before
    assert not aside.exists()


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="is not empty and no run folder"):
        small(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("setting", [{"limit": None}, {"clip_norm": 1.0}, {"color": "rgb"}])
def test_no_difference_is_passed_over_when_a_run_goes_on(copied: Path, setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="other settings"):
        small(copied, **setting)
    assert run("image-classification", config=copied / "run.yaml", run_dir=str(copied)).headline >= 0


def test_an_event_survives_a_line_cut_short(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"event": "epoch", "epoch": 1}\n{"event": "ep')
    Run(tmp_path).record("stage", name="train", status="start")
    assert [event["event"] for event in Run(tmp_path).events()] == ["epoch", "stage"]


def test_a_batch_larger_than_the_data_is_cut_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small(tmp_path, batch_size=10**8)
    assert "batch size: 60, as there are 60 images to train on" in capsys.readouterr().err
    assert "batch_size: 60" in (tmp_path / "run.yaml").read_text()


def test_evaluate_notices_that_its_data_changed(photos: Path, tmp_path: Path) -> None:
    small(tmp_path / "run", data=str(photos), limit=None)
    (photos / "dark").rename(photos / "black")
    with pytest.raises(StateError, match="has changed since the run"):
        evaluate(tmp_path / "run")


@pytest.mark.parametrize("stage", ["train", "score", "report"])
def test_a_run_that_was_cut_off_goes_on(
    finished: Path, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(self: Any) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(Execution, stage, cut)
        with pytest.raises(KeyboardInterrupt):
            small(folder)
    assert not Run(folder).finished
    small(folder)
    assert Run(folder).finished
    assert stages(folder).count((stage, "start")) == 2
    assert stages(folder).count(("data", "start")) == 1
    for file in ("metrics.json", "predictions.jsonl", "run.yaml"):
        assert (folder / file).read_bytes() == (finished / file).read_bytes()


def test_the_epochs_of_a_training_begun_again_are_not_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import training

    judge = training._judge

    def cut(trainer: Any, progress: Any, valid: Any) -> bool:
        if progress.epoch == 2:
            raise KeyboardInterrupt
        return judge(trainer, progress, valid)

    with monkeypatch.context() as patched:
        patched.setattr(training, "_judge", cut)
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path)
    small(tmp_path)
    assert [event["epoch"] for event in Run(tmp_path).events("epoch")] == [1, 2]


def test_data_that_changed_since_the_run_began_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, settings = tmp_path / "run", {"data": str(photos), "limit": None}
    with monkeypatch.context() as patched:
        patched.setattr(Execution, "fit_baseline", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            small(folder, **settings)
    next((photos / "dark").iterdir()).unlink()
    with pytest.raises(StateError, match=r"the data have changed since .*png is gone"):
        small(folder, **settings)


def test_a_run_that_fails_on_its_data_leaves_nothing_behind(photos: Path, tmp_path: Path) -> None:
    (photos / "dark" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"0\.png.* is empty"):
        small(tmp_path / "runs" / "one", data=str(photos))
    assert not (tmp_path / "runs" / "one").exists()


def test_a_nan_loss_ends_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the loss is not a number any more"):
        small(tmp_path, learning_rate=1e30, optimizer="sgd", epochs=5)


def test_max_minutes_is_repeatable(tmp_path: Path) -> None:
    small(tmp_path / "a", epochs=4, max_minutes=1e-6)
    assert Run(tmp_path / "a").events("end")[0]["status"] == "stopped by budget"
    again = run("image-classification", config=tmp_path / "a" / "run.yaml", run_dir=str(tmp_path / "b"))
    assert (tmp_path / "a" / "predictions.jsonl").read_bytes() == (again.folder / "predictions.jsonl").read_bytes()


def test_the_manifest_names_every_file(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["files"] == Run(finished).checksums()
    assert set(manifest["seconds"]) == {"data", "train", "baseline", "score", "export", "report"}


def test_predict_takes_files_folders_and_tables(finished: Path, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("image\nphotos/dark/0.png\nphotos/light/none.png\n")
    records = list(predict(finished, [photos / "dark" / "1.png", photos / "light", table]))
    assert len(records) == 1 + 20 + 2
    assert records[0]["id"].endswith("1.png")
    assert set(records[0]) == {"id", "label", "probability", "top_k"}
    assert set(records[-1]) == {"id", "error"}


def test_too_many_bad_inputs_are_an_error_and_the_records_are_written(
    finished: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "dark" / "broken.png").write_bytes(b"\x89PNG nothing")
    output = tmp_path / "records.jsonl"

    def written(max_bad: float) -> int:
        counts = predict_to(
            finished, [str(photos)], output=output, format="jsonl", options={"top_k": 2}, max_bad=max_bad
        )
        return counts.bad

    assert written(0.05) == 1
    with pytest.raises(DataError, match="1 of 41 inputs could not be read, more than --max-bad 0.01"):
        written(0.01)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(lines) == 41
    assert {len(line["top_k"]) for line in lines if "top_k" in line} == {2}


def test_evaluate_on_other_data_scores_with_the_models_classes(
    finished: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(finished)["baseline"]["name"]
    digits = tmp_path / "digits" / "3"
    digits.mkdir(parents=True)
    for i in range(4):
        Image.new("L", (8, 8), 60 * i).save(digits / f"{i}.png")
    (digits / "3.png").rename(digits / "3.jpg")
    metrics = evaluate(finished, data=str(digits.parent))
    assert "3.jpg: " in next(line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: "))
    assert metrics["examples"] == 4
    assert "baseline" not in metrics
    with pytest.raises(DataError, match="dark"):
        evaluate(finished, data=str(photos))
    (digits.parent / "wasp").mkdir()
    (digits / "0.png").rename(digits.parent / "wasp" / "0.png")
    with pytest.raises(DataError, match="wasp"):
        evaluate(finished, data=str(digits.parent))
    left = evaluate(finished, data=str(digits.parent), on_bad="skip")
    assert left["examples"] == 3
    assert "3 of the 4 examples" in left["protocol"]
    assert "1 left out as unusable" in left["protocol"]


def test_evaluate_uses_the_runs_columns_for_tables_only(copied: Path, tmp_path: Path) -> None:
    settings = copied / "run.yaml"
    text = settings.read_text().replace("columns: null", "columns: {image: path, label: class}")
    assert "image: path" in text
    settings.write_text(text)
    Run(copied).update_manifest(files=Run(copied).checksums())
    (tmp_path / "folder" / "3").mkdir(parents=True)
    Image.new("L", (8, 8), 90).save(tmp_path / "folder" / "3" / "0.png")
    (tmp_path / "table.csv").write_text("path,class\nfolder/3/0.png,3\n")
    assert evaluate(copied, data=str(tmp_path / "folder"))["examples"] == 1
    assert evaluate(copied, data=str(tmp_path / "table.csv"))["examples"] == 1


def test_a_budget_holds_for_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Execution, "train", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            small(tmp_path)
    small(tmp_path, max_minutes=1e-6)
    assert Run(tmp_path).events("end")[0]["status"] == "stopped by budget"


def test_predictions_stand_beside_the_truth(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "predictions.jsonl").read_text().splitlines()]
    metrics = json.loads((finished / "metrics.json").read_text())
    assert np.mean([row["label"] == row["target"] for row in rows]) == metrics["scores"]["accuracy"]["value"]


def test_what_the_data_check_refuses_predict_refuses_too(finished: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.gif")
    Image.new("P", (8, 8)).save(tmp_path / "b.bmp")
    records = list(
        predict(
            finished,
            [
                tmp_path / "a.gif",
                tmp_path / "b.bmp",
                tmp_path / "c.png",
                b"caf\xe9.jpg".decode("utf-8", "surrogateescape"),
            ],
        )
    )
    assert [record["error"] for record in records] == [
        "it is a GIF, which is for animations: convert it to PNG or JPEG",
        "it is a BMP of less than 24 bits: convert it to PNG",
        "there is no such file",
        "there is no such file",
    ]
    json.dumps(records).encode("ascii")


def test_predict_says_what_it_does_not_take(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.npz").write_bytes(b"PK")
    for path, sentence in ((tmp_path / "empty", "holds no image"), (tmp_path / "a.npz", "not arrays")):
        with pytest.raises(DataError, match=sentence):
            list(predict(finished, [path]))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda run: (run / "model" / "model.keras").write_bytes(b"tampered"), "not the file that the run wrote"),
        (lambda run: (run / "model" / "classes.json").write_text('["a"]'), "not the file that the run wrote"),
        (lambda run: (run / "model" / "model.keras").unlink(), "holds no model"),
        (lambda run: (run / "run.yaml").unlink(), "no run folder"),
        (lambda run: (run / "manifest.json").write_text("{"), "cannot be read"),
        (lambda run: (run / "manifest.json").unlink(), "no manifest.json"),
        (lambda run: (run / "manifest.json").write_text("[]"), "names no task"),
        (lambda run: (run / "manifest.json").write_text('{"task": "image-classification", "files": []}'), "checksums"),
        (lambda run: (run / "model" / "temperature.json").unlink(), r"temperature\.json is missing"),
        (lambda run: (run / "run.yaml").write_text("image_size: 1"), "damaged"),
        (lambda run: (run / "run.yaml").write_text("image_size: 16\nseed: 1"), "not the file that the run wrote"),
        (shutil.rmtree, "there is no run folder"),
    ],
)
def test_a_damaged_folder_is_refused(copied: Path, damage: Any, sentence: str) -> None:
    damage(copied)
    with pytest.raises(SixfoldError, match=sentence):
        list(predict(copied, ["a.png"]))


def test_readme_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    code = readme.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("photo.jpg")
    exec(compile(code, "README.md", "exec"), {})
    assert "'label'" in capsys.readouterr().out


def test_further_baselines_stand_beside_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = registry.task("image-classification")

    def two(config: Any, data: Any, frozen: Any = None) -> Baseline:
        found = task.baseline(config, data, frozen)
        return replace(found, others=(replace(found, name="the same | again", note="<b>twice</b>"),))

    monkeypatch.setattr(registry, "task", lambda name: replace(task, baseline=two))
    result = small(tmp_path / "run", epochs=1)
    metrics = Run(tmp_path / "run").read_json("metrics.json")
    (other,) = metrics["baselines"]
    assert other["name"] == "the same | again"
    assert other["scores"] == metrics["baseline"]["scores"]
    said = capsys.readouterr()
    assert "baseline: the same | again (<b>twice</b>)" in said.err
    assert f"; {other['scores']['accuracy']['value']:.4f}" in said.out + said.err
    page = (tmp_path / "run/report.html").read_text("utf-8")
    assert '<th class="n">the same | again</th>' in page
    assert "&lt;b&gt;twice&lt;/b&gt;" in page
    assert 'class="dot further"' in page
    card = (tmp_path / "run/MODEL_CARD.md").read_text("utf-8")
    assert "| score | model | baseline | the same \\| again |" in card
    assert "Beside it: the same \\| again (&lt;b\\>twice&lt;/b\\>)." in card
    assert evaluate(tmp_path / "run")["baselines"] == metrics["baselines"]
    assert "the same | again" in metrics_text(result.metrics).splitlines()[0]


def test_one_baseline_alone_is_not_told_of_twice(finished: Path) -> None:
    assert "baselines" not in Run(finished).read_json("metrics.json")
    assert "Beside it" not in (finished / "report.html").read_text("utf-8")
