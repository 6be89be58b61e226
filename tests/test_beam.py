"""Predictions by Apache Beam, on its DirectRunner with two workers: `make test-beam`. Beam is not imported here: what
is looked at are the command and its workers, which are processes of their own."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
SHARDS = 6
BEAM = f"--runner beam --shards {SHARDS} --beam=--direct_num_workers=2 --beam=--direct_running_mode=multi_processing"
PATIENCE_SECONDS = 300.0
NOTES = """
import atexit, os, sys, time
from functools import cached_property
if "NOTES" in os.environ:
    from pipelines.prediction import Parts
    def note(*words):
        with open(os.environ["NOTES"], "a") as file:
            print(*words, os.getpid(), file=file)
    def predict(self, shard, own=Parts.predict):
        counts = own(self, shard)
        note("part", shard.index)
        time.sleep(float(os.environ["PAUSE"]))
        return counts
    def loaded(self, own=Parts.__dict__["_loaded"].func):
        note("model", "-")
        return own(self)
    Parts.predict, Parts._loaded = predict, cached_property(loaded)
    Parts._loaded.__set_name__(Parts, "_loaded")
    atexit.register(lambda: note("end", "tensorflow" in sys.modules))
"""
"""What Python runs first, in the command and in the workers, writes down who loads the model and predicts what."""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is an extra: `make test-beam`"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, a table of images, one of which is none, and what one process predicts for them."""
    folder = tmp_path_factory.mktemp("beam")
    (folder / "sitecustomize.py").write_text(NOTES)
    names = [f"{index}.png" for index in range(70)]
    for index, name in enumerate(names):
        Image.new("RGB", (28, 28), (3 * index, 255 - 2 * index, index)).save(folder / name)
    (folder / names[40]).write_text("no image")
    (folder / "images.csv").write_text("\n".join(["image", *names]))
    words = "run image-classification --backbone mlp --limit 80 --batch-size 8 --epochs 1 --run-dir run"
    assert sixfold(folder, *words.split()).returncode == 0
    assert predicted(folder, "one.jsonl", "").returncode == 0
    return folder


def sixfold(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *words]
    environment = environment_of(folder, **variables)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )


def environment_of(folder: Path, **variables: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", "PAUSE": "0", **variables}


def predicted(folder: Path, output: str, more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    words = f"predict run images.csv --max-bad 0.1 --output {output} {more}"
    return sixfold(folder, *words.split(), **variables)


def notes(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def parts(file: Path) -> dict[int, str]:
    """Which parts were predicted, and by which process."""
    return {int(index): process for kind, index, process in notes(file) if kind == "part"}


def test_two_workers_write_what_one_process_does(folder: Path) -> None:
    done = predicted(folder, "two.jsonl", BEAM, NOTES="two.notes", PAUSE="1")
    assert done.returncode == 0, done.stderr
    assert "70 records in two.jsonl, 1 of them errors, which are also in two.bad.jsonl" in done.stderr
    assert (folder / "two.jsonl").read_bytes() == (folder / "one.jsonl").read_bytes()
    (bad,) = (folder / "two.bad.jsonl").read_text().splitlines()
    assert bad == (folder / "one.jsonl").read_text().splitlines()[40]
    assert '"error"' in bad
    seen, made = notes(folder / "two.notes"), parts(folder / "two.notes")
    workers = set(made.values())
    assert sorted(made) == list(range(SHARDS))
    assert len(workers) == 2
    assert Counter(process for kind, _, process in seen if kind == "model") == dict.fromkeys(workers, 1)
    launching = [loaded for kind, loaded, process in seen if kind == "end" and process not in workers]
    assert launching
    assert set(launching) == {"False"}, "TensorFlow was loaded where nothing is computed"


def test_what_a_kill_left_is_not_done_again(folder: Path) -> None:
    words = f"predict run images.csv --max-bad 0.1 --output cut.jsonl {BEAM}".split()
    environment = environment_of(folder, NOTES="cut.notes", PAUSE="3")
    command = [sys.executable, "-m", "pipelines.cli", *words]
    with (folder / "cut.log").open("w") as log:
        begun = subprocess.Popen(command, cwd=folder, env=environment, stderr=log, start_new_session=True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not parts(folder / "cut.notes") and begun.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(begun.pid, signal.SIGKILL)
    assert begun.wait() == -signal.SIGKILL, (folder / "cut.log").read_text()
    there = {int(file.name[5:10]) for file in (folder / "cut.jsonl.parts").glob("*.json")}
    assert 0 < len(there) < SHARDS
    assert not (folder / "cut.jsonl").exists()
    other = predicted(folder, "cut.jsonl", BEAM.replace(f"--shards {SHARDS}", "--shards 5"))
    assert other.returncode == 2
    assert f"give --shards {SHARDS} to go on" in other.stderr
    done = predicted(folder, "cut.jsonl", BEAM, NOTES="again.notes")
    assert done.returncode == 0, done.stderr
    assert f"{len(there)} of {SHARDS} parts were there already" in done.stderr
    assert parts(folder / "again.notes").keys() == {*range(SHARDS)} - there
    assert (folder / "cut.jsonl").read_bytes() == (folder / "one.jsonl").read_bytes()


def test_what_a_worker_refuses_is_a_sentence(folder: Path) -> None:
    old = folder / "refused.jsonl.parts" / "refused-00002.json"
    old.parent.mkdir()
    old.write_text('["DataError", "what was refused before is no reason."]')
    done = predicted(folder, "refused.jsonl", f"--horizon 3 {BEAM}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: image-classification has no horizon, so there is nothing to set: leave it out."
    )
    assert not (folder / "refused.jsonl").exists()


@pytest.mark.parametrize("option", ["--direct_num_workers=x", "--direct_num_worker=2"])
def test_what_beam_refuses_is_a_sentence(folder: Path, option: str) -> None:
    done = predicted(folder, "none.jsonl", f"--runner beam --beam={option}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: --beam {option}: Beam refuses that (")
    assert "Traceback" not in done.stderr
    assert not (folder / "none.jsonl.parts").exists()
