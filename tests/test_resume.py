"""Going on with a run: what is found in its folder, what may change, who may work on it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pipelines
from pipelines import registry, run
from pipelines.checkpoints import Checkpoints, State
from pipelines.cli import main
from pipelines.config import RunConfig, load_config, resuming_of, save_interval
from pipelines.console import Console
from pipelines.engine import _last_words, resume
from pipelines.errors import ConfigError, Preempted, RunError, SixfoldError, StateError
from pipelines.execution import Execution
from pipelines.interrupts import Interrupts
from pipelines.lock import Lock
from pipelines.runs import Run
from pipelines.state import load_arrays, save_arrays
from pipelines.verification import verify
from tests.conftest import stopped_at

pytestmark = pytest.mark.usefixtures("unserved")

ROOT = Path(__file__).parent.parent
SMALL = {"backbone": "mlp", "hidden": (8,), "limit": 60, "epochs": 3, "batch_size": 16, "baseline_iterations": 5}


def small(folder: Path, **settings: Any) -> Any:
    return run("image-classification", **{**SMALL, "run_dir": str(folder), **settings})


def cut_off(folder: Path, stage: str = "fit_baseline", **settings: Any) -> None:
    """A run that dies in a stage."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Execution, stage, lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            small(folder, **settings)


def stopped_in_training(folder: Path, place: int = 9, **settings: Any) -> None:
    """A run that a signal stops in its training."""
    with stopped_at(place):
        small(folder, **settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "trained"
    stopped_in_training(folder)
    return folder


@pytest.fixture
def stopped(trained: Path, tmp_path: Path) -> Path:
    """A run that was stopped in its training: a copy."""
    shutil.copytree(trained, tmp_path / "stopped")
    return tmp_path / "stopped"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "finished"
    small(folder)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copied")
    return tmp_path / "copied"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 128)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(20):
            pixels = random.integers(low, low + 128, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i:02}.png")
    return tmp_path / "photos"


def states(folder: Path) -> list[Path]:
    return sorted((folder / "state").glob("train-*"))


def same(one: Path, other: Path) -> bool:
    names = ("metrics.json", "predictions.jsonl", "model/model.keras")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_resume_ends_as_if_nothing_had_happened(stopped: Path, finished: Path) -> None:
    assert main(["resume", str(stopped)]) == 0
    assert same(stopped, finished)


def test_resume_from_python(stopped: Path, finished: Path) -> None:
    assert pipelines.resume(stopped, save_every="3 steps").folder == stopped
    assert same(stopped, finished)


def test_a_finished_run_has_nothing_to_resume_even_where_nothing_can_be_written(
    copied: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file: file.stat().st_mtime_ns for file in copied.rglob("*")}
    monkeypatch.setattr(Path, "touch", lambda *_: pytest.fail("it writes"))
    assert main(["resume", str(copied)]) == 0
    assert "is finished (done): nothing to do" in capsys.readouterr().err
    assert {file: file.stat().st_mtime_ns for file in copied.rglob("*")} == before


def test_a_damaged_state_falls_back_to_the_one_before(
    stopped: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(states(stopped)) == 2
    with states(stopped)[-1].open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"damage")
    small(stopped)
    told = capsys.readouterr().err
    assert "is damaged (its checksum differs)" in told
    assert "Going back to the state of step" in told
    assert same(stopped, finished)


@pytest.mark.parametrize(
    "damage", [lambda file: os.truncate(file, 50), lambda file: file.write_bytes(b""), Path.unlink]
)
def test_weights_that_are_no_longer_those_make_a_state_unusable(stopped: Path, damage: Any) -> None:
    for file in (stopped / "state").glob("epoch-*"):
        damage(file)
    with pytest.raises(StateError, match=r"no training state can be used: .*epoch-.* Start again with sixfold run"):
        small(stopped)


def test_a_missing_state_is_said(stopped: Path) -> None:
    for file in states(stopped):
        file.unlink()
    with pytest.raises(StateError, match=r"holds no training state, though one of step \d+ was saved"):
        small(stopped)


def test_a_state_of_another_version_is_said(stopped: Path) -> None:
    for file in states(stopped):
        arrays, about, _ = load_arrays(file)
        save_arrays(file, arrays, {**about, "format": 99})
    with pytest.raises(StateError, match=r"of another version of Sixfold \(format 99, not 2\)"):
        small(stopped)


def test_two_states_are_kept_and_the_weights_that_they_count_on(tmp_path: Path) -> None:
    checkpoints, kept = Checkpoints(Run(tmp_path)), dict.fromkeys([1, 2], ("epoch-1",))
    kept |= {3: ("epoch-1", "epoch-3"), 4: ("epoch-3", "epoch-4"), 5: ("epoch-3", "epoch-4")}
    for step, files in kept.items():
        weights = {"a": np.full(3, step, np.float32)}
        if f"epoch-{step}" in files:
            checkpoints.keep(f"epoch-{step}.safetensors", weights, {})
        checkpoints.save(State(step, weights, {}, tuple(f"{name}.safetensors" for name in files)))
        checkpoints.wait()
    checkpoints.close()
    names = sorted(file.name for file in (tmp_path / "state").iterdir())
    assert names == [
        "epoch-3.safetensors",
        "epoch-4.safetensors",
        "train-00000004.safetensors",
        "train-00000005.safetensors",
    ]
    state = Checkpoints(Run(tmp_path)).newest(Console())
    assert state is not None
    assert (state.step, state.files) == (5, ("epoch-3.safetensors", "epoch-4.safetensors"))
    np.testing.assert_array_equal(state.arrays["a"], [5, 5, 5])


def test_weights_go_with_the_state_that_counts_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the disk is, and whatever was waiting when an epoch turned out to be the best."""
    from pipelines import checkpoints

    def slow(path: Path, *args: Any) -> str:
        time.sleep(0.05)
        return save_arrays(path, *args)

    monkeypatch.setattr(checkpoints, "save_arrays", slow)
    saver = Checkpoints(Run(tmp_path))
    files: tuple[str, ...] = ()
    for step in range(1, 13):
        weights = {"a": np.full(3, step, np.float32)}
        saver.save(State(step, weights, {}, files))
        if step % 2 == 0:
            files = (*files, f"epoch-{step:02d}.safetensors")[-2:]
            saver.keep(files[-1], weights, {})
            saver.save(State(step, weights, {}, files))
    saver.wait()
    saver.close()
    state = Checkpoints(Run(tmp_path)).newest(Console())
    assert state is not None
    assert (state.step, state.files) == (12, ("epoch-10.safetensors", "epoch-12.safetensors"))
    for file in states(tmp_path):
        Checkpoints(Run(tmp_path)).read(file)


def test_the_state_of_another_run_is_refused(stopped: Path) -> None:
    Run(stopped).update_manifest(created="another time")
    with pytest.raises(StateError, match="is of another run"):
        small(stopped)


RULES = {
    "free": {
        *("device", "require", "shard_tables", "model_parallel", "stop_step", "max_minutes", "save_every"),
        *("run_dir", "overwrite", "allow_changed_data"),
    },
    "grows": {"epochs"},
}
FIXED = {
    *("data", "columns", "group_by", "valid", "test", "split", "limit", "on_bad"),
    *("pretrained", "unfreeze", "stage_rates", "layer_decay", "train_norms", "lora_rank"),
    *("teacher", "teacher_temperature", "teacher_weight"),
    *("batch_size", "accumulate", "optimizer", "learning_rate", "schedule", "warmup", "momentum", "weight_decay"),
    *("l1", "l2", "clip_norm", "average", "average_epochs", "average_which", "score_last", "patience", "monitor"),
    *("pretrain_on", "pretrain_epochs", "pretrain_rate", "pretrain_mask"),
    *("backend", "precision", "jit", "steps_per_execution", "deterministic", "seed"),
}


def test_what_may_change_is_decided_for_every_field() -> None:
    found = {name: resuming_of(field) for name, field in RunConfig.model_fields.items()}
    expected = {name: rule for rule, names in RULES.items() for name in names} | dict.fromkeys(FIXED, "fixed")
    assert found == expected
    for task in registry.TASKS:
        own = registry.config_class(task).model_fields.items() - RunConfig.model_fields.items()
        shared = set(RunConfig.model_fields)
        assert {resuming_of(field) for name, field in own if name not in shared} == {"fixed"}


CHANGES = {
    "seed": 1, "data": "elsewhere", "batch_size": 8, "learning_rate": 0.1, "optimizer": "sgd", "schedule": "step",
    "limit": 50, "dropout": 0.5, "width": 8, "augment": "flip", "epochs": 2, "backend": "jax", "average": 0.5,
    "patience": 3, "monitor": "loss", "precision": "mixed_bfloat16", "deterministic": False, "accumulate": 2,
    "steps_per_execution": 1, "clip_norm": 1.0, "split": (0.5, 0.2, 0.3),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_decides_the_result_may_not_change(trained: Path, name: str) -> None:
    before = {file: file.stat().st_mtime_ns for file in trained.rglob("*") if file.is_file()}
    with pytest.raises(ConfigError, match=rf"holds a run with other settings \({name} .* there, .* here"):
        small(trained, **{name: CHANGES[name]})
    assert {file: file.stat().st_mtime_ns for file in trained.rglob("*") if file.is_file()} == before


def test_what_may_change_is_listed(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--epochs", "5", "--save-every", "7", "--device", "cpu", "--stop-step", "14"]
    assert main(["resume", str(stopped), *words]) == 0
    told = capsys.readouterr().err
    for line in ("epochs from 3 to 5", "save_every from '5 minutes' to 7", "device from auto to cpu"):
        assert f"changed: {line}" in told
    assert "stop_step from none to 14" in told
    assert Run(stopped).events("trained")[-1]["step"] == 14
    assert "epochs: 5" in (stopped / "run.yaml").read_text()


def test_epochs_may_not_shrink_nor_grow_after_the_training(stopped: Path, copied: Path) -> None:
    assert main(["resume", str(stopped), "--epochs", "2"]) == 2
    assert main(["resume", str(copied), "--epochs", "4"]) == 2


def test_a_stop_step_that_is_past_is_refused(stopped: Path) -> None:
    before = (stopped / "run.yaml").read_text()
    with pytest.raises(ConfigError, match=r"stop_step none there, 1 here, which is before step \d+"):
        resume(stopped, {"stop_step": 1}, [])
    assert (stopped / "run.yaml").read_text() == before


def test_a_setting_can_go_back_to_what_it_was_first(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(stopped), "--stop-step", "13", "--max-minutes", "0.0000001", "--epochs", "4"]) == 0
    shutil.rmtree(stopped / "model")
    text = (stopped / "events.jsonl").read_text().splitlines()
    kept = [line for line in text if '"train", "status": "end"' not in line and '"event": "end"' not in line]
    (stopped / "events.jsonl").write_text("\n".join(kept) + "\n")
    manifest = Run(stopped).manifest()
    (stopped / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if k != "files"}))
    assert main(["resume", str(stopped), "--stop-step", "none", "--epochs", "3"]) == 2
    assert main(["resume", str(stopped), "--stop-step", "none"]) == 0
    assert "stop_step from 13 to none" in capsys.readouterr().err
    assert Run(stopped).events("trained")[-1]["step"] == 16


def test_an_end_that_was_reached_already_adds_no_epoch(tmp_path: Path) -> None:
    stopped_in_training(tmp_path / "a", 9, steps_per_execution=1)  # between the first epoch and the second
    assert [file.stem for file in states(tmp_path / "a")] == ["train-00000004"]
    assert main(["resume", str(tmp_path / "a"), "--stop-step", "4"]) == 0
    small(tmp_path / "b", steps_per_execution=1, stop_step=4)
    one, other = (Run(tmp_path / name).events("epoch") for name in "ab")
    assert [event["valid"] for event in one] == [event["valid"] for event in other]


def test_an_edited_run_yaml_is_refused(stopped: Path) -> None:
    file = stopped / "run.yaml"
    file.write_text(file.read_text().replace("seed: 0", "seed: 7"))
    with pytest.raises(StateError, match=r"run\.yaml was edited since the run began"):
        resume(stopped, {}, [])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda run: (run / "events.jsonl").write_text(""), "its line 'end' is gone"),
        (lambda run: (run / "metrics.json").write_text("{}"), "it has no headline score"),
        (lambda run: (run / "metrics.json").unlink(), r"has no metrics\.json: restore it"),
        (lambda run: Run(run).update_manifest(asked=[]), "its asked are gone"),
    ],
)
def test_a_damaged_finished_run_is_a_sentence(copied: Path, damage: Any, sentence: str) -> None:
    damage(copied)
    with pytest.raises(StateError, match=sentence):
        resume(copied, {}, [])


def test_other_versions_are_said(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Run(stopped).manifest()
    Run(stopped).update_manifest(versions={**manifest["versions"], "keras": "3.0.0"})
    small(stopped)
    assert "changed: keras was 3.0.0 and is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda photos: (photos / "dark" / "03.png").unlink(), r"dark/03\.png is gone"),
        (
            lambda photos: Image.new("RGB", (12, 12)).save(photos / "dark" / "03.png"),
            r"dark/03\.png has another content",
        ),
        (lambda photos: Image.new("RGB", (12, 12)).save(photos / "dark" / "zz.png"), r"dark/zz\.png is new"),
        (lambda photos: (photos / "dark").rename(photos / "black"), r"dark/.*png is gone \(one of 20\); .* is new"),
    ],
)
def test_changed_data_are_refused_with_the_file(photos: Path, tmp_path: Path, change: Any, sentence: str) -> None:
    settings = {"data": str(photos), "limit": None}
    cut_off(tmp_path / "run", **settings)
    change(photos)
    with pytest.raises(StateError, match=rf"the data have changed since .*{sentence}.*--allow-changed-data"):
        small(tmp_path / "run", **settings)


def test_changed_data_may_be_allowed_in_the_middle_of_an_epoch(photos: Path, tmp_path: Path) -> None:
    settings = {"data": str(photos), "limit": None, "batch_size": 4, "steps_per_execution": 1}
    stopped_in_training(tmp_path / "run", 13, **settings)
    for place in range(6, 20):
        (photos / "dark" / f"{place:02}.png").unlink()
    small(tmp_path / "run", **settings, allow_changed_data=True)
    found = Run(tmp_path / "run")
    assert [event["epoch"] for event in found.events("epoch")] == [1, 2, 3]
    assert "is gone" in found.events("data changed")[0]["change"]
    assert found.manifest()["data"]["counts"]["train"] < 30
    assert "allow_changed_data: false" in (tmp_path / "run" / "run.yaml").read_text()
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_the_epoch_begins_again_though_it_has_as_many_steps(photos: Path, tmp_path: Path) -> None:
    settings = {"data": str(photos), "limit": None, "batch_size": 4, "steps_per_execution": 1}
    stopped_in_training(tmp_path / "run", 13, **settings)
    step = Run(tmp_path / "run").events("checkpoint")[-1]["step"]
    assert step % 8
    Image.new("RGB", (12, 12)).save(photos / "dark" / "03.png")
    result = small(tmp_path / "run", **settings, allow_changed_data=True)
    again = [event["step"] for event in Run(tmp_path / "run").events("resume")]
    assert again == [0, step // 8 * 8]
    assert "The data were changed during the run" in result.metrics["protocol"]
    assert "test examples may have been trained on" in (tmp_path / "run" / "MODEL_CARD.md").read_text()


def test_changed_data_that_need_another_model_change_nothing(photos: Path, tmp_path: Path) -> None:
    settings = {"data": str(photos), "limit": None, "batch_size": 4}
    stopped_in_training(tmp_path / "run", 4, **settings)
    before = (tmp_path / "run" / "manifest.json").read_text()
    shutil.copytree(photos / "dark", photos / "third")
    for file in (photos / "third").iterdir():
        Image.new("RGB", (12, 12), (int(file.stem), 9, 9)).save(file)
    with pytest.raises(StateError, match="the changed data ask for another model"):
        small(tmp_path / "run", **settings, allow_changed_data=True)
    shutil.rmtree(photos / "third")
    manifests = [json.loads(text) for text in (before, (tmp_path / "run" / "manifest.json").read_text())]
    assert manifests[0]["fingerprint"] == manifests[1]["fingerprint"]
    small(tmp_path / "run", **settings)


def test_a_change_that_hides_its_time_is_seen(photos: Path, tmp_path: Path) -> None:
    from PIL import ImageOps

    settings = {"data": str(photos), "limit": None}
    file = photos / "dark" / "03.png"
    with Image.open(file) as image:
        ImageOps.invert(image).save(file, compress_level=0)
    cut_off(tmp_path / "run", **settings)
    times = file.stat()
    with Image.open(file) as image:
        ImageOps.invert(image).save(file, compress_level=0)
    assert file.stat().st_size == times.st_size
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(StateError, match=r"03\.png has another content"):
        small(tmp_path / "run", **settings)


def test_after_allowed_changes_the_baseline_is_fitted_again(photos: Path, tmp_path: Path) -> None:
    settings = {"data": str(photos), "limit": None}
    cut_off(tmp_path / "run", "score", **settings)
    (photos / "dark" / "03.png").unlink()
    small(tmp_path / "run", **settings, allow_changed_data=True)
    begun = [event["name"] for event in Run(tmp_path / "run").events("stage") if event["status"] == "start"]
    assert begun.count("baseline") == 2
    assert begun.count("train") == 1


def test_the_second_of_two_processes_is_refused(stopped: Path) -> None:
    holder = "import sys, time; from pathlib import Path; from pipelines.lock import Lock; "
    holder += "lock = Lock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", holder, str(stopped)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        for settings in ({}, {"overwrite": True}):
            with pytest.raises(StateError, match=rf"is being worked on by process {child.pid} on .*: wait for it"):
                small(stopped, **settings)
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    assert (stopped / "lock").exists()
    assert small(stopped).headline >= 0
    assert not (stopped / "lock").exists()


def test_a_lock_is_released_and_can_be_had_again(tmp_path: Path) -> None:
    one, other = Lock(tmp_path), Lock(tmp_path)
    one.acquire()
    with pytest.raises(StateError):
        other.acquire()
    one.release()
    other.acquire()
    other.release()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_ends_in_a_sentence_and_the_last_good_state_stands(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = [0]
    from pipelines import checkpoints

    def full(path: Path, *args: Any) -> str:
        saves[0] += 1
        if saves[0] > 3:
            raise OSError(28, "No space left on device", str(path))
        return save_arrays(path, *args)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save_arrays", full)
        with pytest.raises(RunError, match=r"no space is left for .*state: make room.*what was saved before is intact"):
            small(tmp_path / "run")
    assert states(tmp_path / "run")
    small(tmp_path / "run")
    assert same(tmp_path / "run", finished)


def test_a_real_full_disk(tmp_path: Path, finished: Path) -> None:
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=180k", "tmpfs", str(tmp_path / "disk")]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a small tmpfs cannot be mounted here")
    try:
        with pytest.raises(RunError, match="no space is left for"):
            small(tmp_path / "disk" / "run", hidden=(64,))
        assert not [file for file in (tmp_path / "disk").rglob(".*") if file.is_file()]
        for file in states(tmp_path / "disk" / "run"):
            load_arrays(file)
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert main(["run", "image-classification", "--run-dir", str(tmp_path / "file" / "run")]) == 2
    assert main(["resume", str(tmp_path / "nowhere")]) == 78
    assert main(["resume", str(tmp_path)]) == 78


def test_what_a_killed_process_left_is_cleared_away(stopped: Path) -> None:
    for name in (".metrics.json.123", "state/.train-00000009.safetensors.77", "model/.model.keras.5.keras"):
        (stopped / name).parent.mkdir(exist_ok=True)
        (stopped / name).write_bytes(b"half")
    (stopped / ".mine").write_text("kept")
    small(stopped)
    assert [file.name for file in stopped.rglob(".*")] == [".mine"]


def test_a_folder_in_which_nothing_began_is_begun(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("manifest.json", "lock", ".run.yaml.12"):
        (folder / name).write_text("")
    small(folder)
    assert Run(folder).finished


def test_verify_names_what_changed(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copied)]) == 0
    assert "files are as the run left them" in capsys.readouterr().out
    (copied / "metrics.json").write_text("{}")
    (copied / "MODEL_CARD.md").unlink()
    (copied / "model" / "extra.json").write_text("[]")
    with (copied / "events.jsonl").open("a") as file:
        file.write("{}\n")
    assert main(["verify", str(copied)]) == 78
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "changed: events.jsonl",
        "changed: metrics.json",
        "missing: MODEL_CARD.md",
        "new: model/extra.json",
    ]


def test_verify_agrees_after_a_new_report(copied: Path) -> None:
    (copied / "report.html").unlink()
    assert main(["report", str(copied)]) == 0
    assert verify(copied).problems == []


def test_verify_of_an_unfinished_run_looks_at_its_states(stopped: Path) -> None:
    assert verify(stopped).problems == []
    assert "is unfinished (stages done: data)" in verify(stopped).sentence
    os.truncate(states(stopped)[0], 200)
    assert len(verify(stopped).problems) == 1


def test_verify_of_an_unfinished_run_sees_what_resume_would(stopped: Path) -> None:
    one, other = sorted((stopped / "state").glob("epoch-*"))
    swapped = one.read_bytes(), other.read_bytes()
    other.write_bytes(swapped[0])
    one.write_bytes(swapped[1])
    assert len(verify(stopped).problems) == 2
    for file in states(stopped):
        file.unlink()
    assert any(problem.startswith("missing: the state of step") for problem in verify(stopped).problems)


def test_verify_looks_into_folders_and_at_hidden_files(copied: Path) -> None:
    for name in ("model/.x", "model/lock", "figures/manifest.json"):
        (copied / name).write_text("")
    assert [line.partition(": ")[0] for line in verify(copied).problems] == ["new"] * 3
    manifest = Run(copied).manifest()
    (copied / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if k != "files"}))
    with pytest.raises(StateError, match="has lost its checksums"):
        verify(copied)


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("500", (500, None)),
        ("1 step", (1, None)),
        ("5m", (None, 300)),
        ("0.5 hours", (None, 1800)),
        ("30 s", (None, 30)),
    ],
)
def test_save_every_takes_steps_or_a_time(text: str, interval: tuple[Any, Any]) -> None:
    assert save_interval(text) == interval


@pytest.mark.parametrize("text", ["0", "-1", "1.5 steps", "soon", "5 ms", "0 minutes", "."])
def test_save_every_refuses_what_is_neither(text: str) -> None:
    with pytest.raises(ConfigError, match="write steps or a time, as in '500 steps' or '5 minutes'"):
        load_config("image-classification", options={"save_every": text})


def in_process(*words: str, code: str = "") -> subprocess.Popen[str]:
    """The command line in a process of its own, after some code."""
    start = f"import sys; {code}\nfrom pipelines.cli import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", start, *words]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def wait_for(condition: Any) -> None:
    ends = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_signal_ends_even_what_python_cannot_interrupt_and_two_interrupts_end_it_at_once(tmp_path: Path) -> None:
    """The baseline is stuck in a call that holds on for long without coming back to the interpreter."""
    code = (
        "import ctypes, pipelines.interrupts as i, pipelines.execution as e; i.DEADLINE_SECONDS = 1.0\n"
        "def stuck(self):\n    open(self.run.path / 'stuck', 'w').close()\n"
        "    mutex = ctypes.create_string_buffer(64)\n"
        "    for _ in range(2): ctypes.CDLL(None).pthread_mutex_lock(mutex)\n"
        "e.Execution.fit_baseline = stuck"
    )
    words = ["run", "image-classification", "--limit", "60", "--backbone", "mlp", "--epochs", "1"]
    found = []
    for name, signals in (("term", [signal.SIGTERM]), ("int", [signal.SIGINT, signal.SIGINT])):
        folder = tmp_path / name
        child = in_process(*words, "--run-dir", str(folder), code=code)
        wait_for((folder / "stuck").exists)
        started = time.monotonic()
        for number in signals:
            child.send_signal(number)
            time.sleep(0.2)
        _, told = child.communicate(timeout=60)
        found.append((child.returncode, time.monotonic() - started < 30, "sixfold resume" in told))
    assert found[0] == (75, True, True)
    assert found[1][:2] == (130, True)


def test_signal_upon_signal_is_still_exit_75(tmp_path: Path) -> None:
    words = ["run", "image-classification", "--limit", "60", "--backbone", "mlp", "--epochs", "100000"]
    code = "from pipelines.cli import entry\nsys.argv[1:] = sys.argv[1:]\nentry()"
    command = [sys.executable, "-c", f"import sys\n{code}", *words, "--run-dir", str(tmp_path / "run")]
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    wait_for(lambda: (tmp_path / "run" / "state").exists() and states(tmp_path / "run"))
    for number in [signal.SIGTERM, signal.SIGUSR1] * 5:
        child.send_signal(number)
        time.sleep(0.1)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 75, told
    assert "SIGTERM: finishing what cannot be cut off" in told
    assert "its state saved: go on with sixfold resume" in told
    assert verify(tmp_path / "run").problems == []


def test_a_signal_before_the_run_begins_is_exit_75_too(tmp_path: Path) -> None:
    code = (
        "import os, signal, pipelines.config as c\nc.load_config = lambda *a, **k: os.kill(os.getpid(), signal.SIGTERM)"
    )
    child = in_process("run", "image-classification", "--run-dir", str(tmp_path / "run"), code=code)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 75
    assert "stopped by SIGTERM before anything was done: give the same command again" in told
    assert not (tmp_path / "run").exists()


def test_a_process_that_is_ended_where_it_is_leaves_no_folder_that_is_no_run(tmp_path: Path) -> None:
    for name, existed, settings in [("new", False, False), ("given", True, False), ("begun", False, True)]:
        begun = Run(tmp_path / name)
        begun.path.mkdir()
        lock = Lock(begun.path)
        lock.acquire()
        if settings:
            begun.write_settings("seed: 0\n")
        said = str(_last_words(begun, existed, signal.SIGTERM))
        assert begun.path.exists() == (name != "new")
        assert ("sixfold resume" in said) == settings
        assert ("give the same command again" in said) == (not settings)
        lock.release()


def test_a_second_signal_does_not_cut_the_end_of_the_first_short() -> None:
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.raise_signal(number)
        assert interrupts.received == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_python_ends_a_loop_around_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Execution, "fit_baseline", lambda self: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="go on with sixfold resume"):
        small(tmp_path / "run")
    assert Run(tmp_path / "run").finished_stages() == ["data", "train"]


def test_signals_are_given_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    small(tmp_path / "run", epochs=1)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before


def test_a_signal_before_anything_was_done_leaves_the_old_run(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: Execution) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = Run(copied).checksums()
    monkeypatch.setattr(Execution, "read_data", stop)
    with pytest.raises(Preempted, match="before anything was done: give the same command again"):
        small(copied, overwrite=True, seed=3)
    assert Run(copied).checksums() == before


def test_a_signal_while_the_data_are_read_keeps_the_folder(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Execution, "read_data", lambda self: os.kill(os.getpid(), signal.SIGUSR1))
        with pytest.raises(Preempted, match="stopped by SIGUSR1 in the stage data, which begins again"):
            small(tmp_path / "run")
    resume(tmp_path / "run", {}, [])
    assert same(tmp_path / "run", finished)


def test_a_run_that_is_stopped_three_times_at_the_same_place_is_not_to_be_started_again(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a scheduler would start it for ever. A person may."""
    with monkeypatch.context() as patched:
        patched.setattr(Execution, "read_data", lambda self: os.kill(os.getpid(), signal.SIGTERM))
        ends = []
        for _ in range(3):
            with pytest.raises(SixfoldError) as end:
                small(tmp_path / "run")
            ends.append(end.value)
    assert [end.exit_code for end in ends] == [75, 75, 1]
    assert "in the stage data, which begins again, and so were the 2 tries before it" in str(ends[-1])
    resume(tmp_path / "run", {}, [])
    assert same(tmp_path / "run", finished)


def test_stops_are_in_vain_where_nothing_was_saved_between_them(tmp_path: Path) -> None:
    """Also those in which Python is not asked. Ctrl-C is not counted."""
    run = Run(tmp_path)
    run.write_settings("seed: 0\n")
    run.record("stage", name="data", status="end")
    codes = []
    for step, number in [(1, "TERM"), (1, "TERM"), (2, "TERM"), (2, "INT"), (2, "USR1"), (2, "TERM"), (2, "INT")]:
        run.record("checkpoint", kind="train", step=step)
        codes.append(_last_words(run, True, signal.Signals[f"SIG{number}"]).exit_code)
    assert codes == [75, 75, 75, 75, 75, 1, 75]


def test_the_manifest_says_who_made_it(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert {"versions", "seed", "fingerprint", "git", "command", "files", "machine"} <= manifest.keys()
    assert {"python", "tensorflow", "keras", "numpy"} <= manifest["versions"].keys()
