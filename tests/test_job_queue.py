"""The queue of this machine: order, restarts, ends, and what is left when any of its processes is killed."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.errors import ConfigError
from pipelines.jobs import ledger, local, queue, targets
from pipelines.jobs.settings import JobSettings
from pipelines.jobs.spec import Job
from pipelines.runs import Run

ROOT = Path(__file__).parent.parent
PATIENCE_SECONDS = 250.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A ledger of its own; in the end its queue is gone."""
    monkeypatch.setenv("SIXFOLD_JOBS", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield tmp_path
    for entry in ledger.every():
        if entry["queue"]["state"] in ("queued", "running"):
            queue.cancel(entry["id"])
            ledger.change(entry["id"], lambda one: {**one, "queue": {**one["queue"], "grace": 0}})
    eventually(lambda: not is_running())


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, [entry.get("queue") for entry in ledger.every()]
        time.sleep(0.05)


def is_running() -> bool:
    """Whether a queue works on the ledger."""
    try:
        queue._lock().close()
    except BlockingIOError:
        return True
    return False


def queue_process() -> int:
    """Its id, which stands in the lock."""
    return int((ledger.home() / "queue-lock").read_text())


def put(home: Path, name: str, script: str, **asked: object) -> str:
    """A job of a few lines of shell; FOLDER is where it leaves what it does."""
    folder = home / name
    folder.mkdir()
    (folder / "script").write_text(f"FOLDER={folder}\necho began >> $FOLDER/told\n{script}\n")
    settings = JobSettings(to="local", **asked)  # type: ignore[arg-type]
    job = Job(settings, name, (str(folder / "script"),), ("bash",), str(folder), home / f"{name}.job", home)
    return targets.submit(job, local.render(job))


def state(number: str) -> str:
    return local.states([number])[number]


def told(home: Path, name: str) -> list[str]:
    file = home / name / "told"
    return file.read_text().split() if file.exists() else []


def test_jobs_run_one_after_another_and_again_where_they_were_cut_off(home: Path) -> None:
    held = put(home, "held", "while [ ! -e $FOLDER/go ]; do sleep 0.05; done")
    again = put(home, "again", "[ $(wc -l < $FOLDER/told) = 3 ] || exit 75; echo done >> $FOLDER/told")
    killed = put(home, "killed", "[ $(wc -l < $FOLDER/told) = 2 ] || kill -9 $$")
    never = put(home, "never", "exit 75", retries=1)
    wrong = put(home, "wrong", "echo $$ said this; exit 3")
    left = put(home, "left", "")
    eventually(lambda: told(home, "held") == ["began"])
    assert state(held) == "running"
    assert {state(number) for number in (again, killed, never, wrong, left)} == {"queued"}
    queue.cancel(left)
    assert state(left) == "cancelled"
    (home / "held" / "go").touch()
    eventually(lambda: state(wrong) == "failed (exit 3)")
    assert [state(number) for number in (held, again, killed)] == ["finished"] * 3
    assert state(never) == "failed (exit 75)"
    assert told(home, "again") == ["began"] * 3 + ["done"]
    assert told(home, "killed") == ["began"] * 2
    assert told(home, "never") == ["began"] * 2
    assert told(home, "wrong") == ["began"]
    assert told(home, "left") == []
    log = (home / "wrong.job" / "logs" / f"{wrong}.log").read_text()
    assert "attempt 1" in log
    assert "said this" in log
    with pytest.raises(ConfigError, match="has ended already: finished"):
        queue.cancel(held)
    eventually(lambda: not is_running())  # nothing is left to do


def test_a_job_that_is_cancelled_or_out_of_time_may_save_first(home: Path) -> None:
    saving = "trap 'echo saved >> $FOLDER/told; exit 75' TERM; while true; do sleep 0.05; done"
    number = put(home, "one", saving)
    eventually(lambda: told(home, "one") == ["began"])
    time.sleep(0.3)  # the trap is set after that
    queue.cancel(number)
    eventually(lambda: state(number) == "cancelled")
    assert told(home, "one") == ["began", "saved"]
    number = put(home, "two", saving + "\n", time="1m", grace=20)
    eventually(lambda: told(home, "two") == ["began"])
    time.sleep(0.3)
    ledger.change(number, lambda one: {**one, "queue": {**one["queue"], "since": one["queue"]["since"] - 60}})
    eventually(lambda: told(home, "two")[:3] == ["began", "saved", "began"])
    eventually(lambda: state(number) == "running (attempt 2)")
    second = Job(JobSettings(to="local"), "two", (), (), str(home / "two"), home / "two.job", home)
    with pytest.raises(ConfigError, match="is the folder of the job"):
        targets.submit(second, "")


def test_the_queue_and_what_it_runs_are_killed(home: Path) -> None:
    """What runs is not run twice, and how it ended is found out by the next queue."""
    number = put(home, "one", "while [ ! -e $FOLDER/go ]; do sleep 0.05; done; echo done >> $FOLDER/told")
    after = put(home, "two", "")
    eventually(lambda: told(home, "one") == ["began"])
    os.kill(queue_process(), signal.SIGKILL)
    eventually(lambda: not is_running())
    (home / "one" / "go").touch()
    eventually(lambda: told(home, "one") == ["began", "done"])
    assert [state for _, state in targets.states()][1] == "queued"  # asking has started the next one
    eventually(lambda: state(after) == "finished")
    assert state(number) == "finished"
    assert told(home, "one") == ["began", "done"]


def test_a_shell_that_nobody_knows_of_does_nothing(tmp_path: Path) -> None:
    """The queue was killed before the entry had its number: the next one starts the job."""
    words = [str(tmp_path / name) for name in ("script", "log", "exit")]
    (tmp_path / "script").write_text(f"touch {tmp_path}/done")
    for told, done in ((b"", False), (b"go\n", True)):
        subprocess.run(["bash", "-c", queue._ATTEMPT, "job", *words], input=told, check=False)
        assert (tmp_path / "done").exists() == done
        assert (tmp_path / "exit").exists() == done


def test_a_job_begins_again_when_nothing_is_left_of_it(home: Path) -> None:
    """Its shell is killed alone. What it started is in a session of its own, as workers are, and takes its time."""
    worker = (
        "trap 'sleep 0.5; echo saved >> $FOLDER/told; exit' TERM; touch $FOLDER/worker; while :; do sleep .05; done"
    )
    script = f"export FOLDER; [ -e $FOLDER/worker ] && exit; setsid bash -c {shlex.quote(worker)} & wait"
    number = put(home, "one", script)
    eventually((home / "one" / "worker").exists)
    entry = ledger.read(number)
    assert entry is not None
    time.sleep(0.3)  # the trap is set after that
    os.killpg(entry["queue"]["pid"], signal.SIGKILL)
    eventually(lambda: state(number) == "finished")
    assert told(home, "one") == ["began", "saved", "began"]


def test_the_number_of_a_process_that_is_another_now(home: Path) -> None:
    """After the machine was started anew, or on another one."""
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        number = put(home, "one", "[ $(wc -l < $FOLDER/told) -gt 1 ] || sleep 600")
        eventually(lambda: told(home, "one") == ["began"])
        os.kill(queue_process(), signal.SIGKILL)
        entry = ledger.read(number)
        assert entry is not None
        os.killpg(entry["queue"]["pid"], signal.SIGKILL)
        about = {"pid": stranger.pid, "born": "1"}
        ledger.change(number, lambda one: {**one, "queue": {**one["queue"], **about}})
        eventually(lambda: state(number) == "finished")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_job_that_cannot_begin_does_not_hold_up_the_others(home: Path) -> None:
    hold = put(home, "hold", "while [ ! -e $FOLDER/go ]; do sleep 0.05; done")
    lost, after = put(home, "lost", ""), put(home, "after", "")
    shutil.rmtree(home / "lost.job")
    (home / "lost.job").touch()
    (home / "hold" / "go").touch()
    eventually(lambda: state(after) == "finished")
    assert state(hold) == "finished"
    assert "cannot be written: " in state(lost)
    with pytest.raises(ConfigError, match="has ended already: failed"):
        targets.cancel(ledger.find(lost))


def test_no_job_that_is_not_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("local-7", "../../etc", "-x", "a\nb"):
        for verb in ("logs", "cancel"):
            assert main([verb, "--", wrong]) == 2
            assert "there is no job" in capsys.readouterr().err


def test_a_damaged_entry_is_no_entry(home: Path) -> None:
    put(home, "one", "")
    eventually(lambda: not is_running())
    (ledger.home() / "local-9.json").write_text("{")
    (ledger.home() / "local-8.json").write_text("[]")
    assert [entry["id"] for entry in ledger.every()] == ["local-1"]
    assert ledger.next_local() == "local-2"


def test_a_run_that_is_killed_goes_on(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """sixfold itself: submitted, killed in its training with all it has started, ended by the queue. That such a run
    ends to the bit as one that was not killed is seen in test_resume.py."""
    words = ["image-classification", "--backbone", "mlp", "--limit", "80", "--batch-size", "16", "--save-every", "1"]
    words += ["--epochs", "40", "--steps-per-execution", "1"]
    assert main(["submit", *words, "--to", "local", "--run-dir", str(home / "run")]) == 0
    number, run = capsys.readouterr().out.strip(), Run(home / "run")
    eventually(lambda: len(run.checkpoints()) > 5)
    entry = ledger.read(number)
    assert entry is not None
    os.killpg(entry["queue"]["pid"], signal.SIGKILL)
    assert run.checkpoints()[-1]["step"] < 200
    eventually(lambda: state(number) == "finished")
    assert run.checkpoints()[-1]["step"] == 200
    assert run.events("resume")
    assert run.finished
    assert main(["submit", *words, "--to", "local", "--run-dir", str(home / "run")]) == 2
    assert "is finished: choose another" in capsys.readouterr().err
    assert main(["jobs"]) == 0
    assert f"{number}  local  finished" in capsys.readouterr().out
