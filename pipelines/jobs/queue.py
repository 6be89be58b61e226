"""The queue of this machine: a process in the background that runs one job after another, and again what was cut off.

`python -m pipelines.jobs.queue LOCK` is that process, which inherits its lock as an open file; it ends when nothing is
left to do. Everything it knows lies in the entries of the ledger, so that where it is killed another goes on, with the
job that still runs.
"""

import datetime
import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from pipelines.children import module, with_our_code
from pipelines.errors import ConfigError, Preempted
from pipelines.jobs import ledger

PARALLEL = "SIXFOLD_PARALLEL_JOBS"
"""How many jobs run at the same time; 1 where it is not set."""
_POLL_SECONDS = 0.2
_OPEN = ("queued", "running")
_LOST = 137
"""The exit code of a job of which nothing else is known: the machine went down, or somebody killed all of it."""
_MARK = "SIXFOLD_JOB"
"""In the environment of all processes of a job: the file of its entry."""
_ATTEMPT = """trap : TERM
read -r go || exit
bash "$1" >>"$2" 2>&1 </dev/null
code=$?
echo $code >"$3.new" && mv "$3.new" "$3"
"""
"""The shell begins when its process stands in the entry, or it would be started once more by the next queue; and
outlives the signal, to write down how the job ended."""
_TROUBLED_SECONDS = 5.0
"""Until the next look, where the disk is full or there are too many processes."""


@dataclass(frozen=True)
class Limits:
    """What one job may take."""

    retries: int
    grace: int
    """Seconds."""
    minutes: int | None
    """Of one attempt."""


def first_state(limits: Limits) -> dict[str, Any]:
    """What stands in the entry of a job that waits."""
    return {"state": "queued", "restarts": 0, "cancel": False, **asdict(limits)}


def in_words(queue: dict[str, Any]) -> str:
    """As `sixfold jobs` shows it."""
    if queue["state"] == "failed":
        return f"failed ({queue.get('why') or 'exit ' + str(queue['code'])})"
    if queue["state"] == "running" and queue["cancel"]:
        return "running (is being cancelled)"
    more = f" (attempt {queue['restarts'] + 1})" if queue["restarts"] and queue["state"] in _OPEN else ""
    return f"{queue['state']}{more}"


def cancel(number: str) -> None:
    """Ask for its end; what waits has ended at once.

    Raises:
        ConfigError: it has ended already.
    """
    ended = ""

    def ask(entry: dict[str, Any]) -> dict[str, Any]:
        nonlocal ended
        queue = entry["queue"]
        if queue["state"] not in _OPEN:
            ended = in_words(queue)
            return entry
        state = "cancelled" if queue["state"] == "queued" else "running"
        return {**entry, "queue": {**queue, "state": state, "cancel": True}}

    ledger.change(number, ask)
    if ended:
        raise ConfigError(f"{number} has ended already: {ended}.")


def ensure_runner() -> None:
    """Start the process in the background, where something is left to do and it does not run."""
    if not _open_entries():
        return
    # The ledger is locked too: one that is about to end, as it saw nothing left to do, has ended then.
    with suppress(BlockingIOError), ledger.locked(), _lock() as lock, (ledger.home() / "queue.log").open("ab") as log:
        own = {"SIXFOLD_JOBS": os.path.abspath(ledger.home()), **with_our_code()}
        inherited = {name: value for name, value in os.environ.items() if name != _MARK}
        words = module("pipelines.jobs.queue", str(lock.fileno()))
        # By a shell that ends at once, as who asks is not to be its parent. It inherits the lock: there is never a
        # moment in which a second one could be started.
        subprocess.run(
            ["bash", "-c", '"$@" &', "sixfold-queue", *words],
            env={**inherited, **own},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock.fileno()],
            check=True,
        )


def main(lock: int) -> int:
    """Run what waits until nothing does, with the lock that was taken for it."""
    children: dict[str, subprocess.Popen[bytes]] = {}
    with suppress(OSError):
        (ledger.home() / "queue-lock").write_text(f"{os.getpid()}\n")
    while True:
        try:
            if _look_around(children, lock):
                return 0
            time.sleep(_POLL_SECONDS)
        except OSError as error:
            with suppress(OSError):
                print(error, file=sys.stderr, flush=True)
            time.sleep(_TROUBLED_SECONDS)


def _look_around(children: dict[str, subprocess.Popen[bytes]], lock: int) -> bool:
    """Do what is to be done now; whether nothing is left."""
    for entry in _open_entries():
        if entry["queue"]["state"] == "running":
            _look_after(entry, children.get(entry["id"]))
    _start_next(children)
    with ledger.locked():
        # Whoever submits now waits for us to be gone, and starts another.
        if _open_entries():
            return False
        os.close(lock)
        return True


def _lock() -> IO[str]:
    ledger.home().mkdir(parents=True, exist_ok=True)
    file = (ledger.home() / "queue-lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file


def _open_entries() -> list[dict[str, Any]]:
    return [one for one in ledger.every() if one["target"] == "local" and one.get("queue", {}).get("state") in _OPEN]


def _start_next(children: dict[str, subprocess.Popen[bytes]]) -> None:
    try:
        most = max(1, int(os.environ.get(PARALLEL, "1")))
    except ValueError:
        most = 1
    entries = _open_entries()
    free = most - sum(one["queue"]["state"] == "running" for one in entries)
    for entry in [one for one in entries if one["queue"]["state"] == "queued"][: max(free, 0)]:
        _start(entry, children)


def _start(entry: dict[str, Any], children: dict[str, subprocess.Popen[bytes]]) -> None:
    """Under the lock: a job that was cancelled meanwhile stays so, and one that has begun is known by its process."""
    one = ledger.entry_of(entry)
    log, code = one.log / f"{one.id}.log", _code_file(one)

    def begin(now: dict[str, Any]) -> dict[str, Any]:
        queue = now["queue"]
        if queue["state"] != "queued":
            return now
        try:
            one.log.mkdir(parents=True, exist_ok=True)
            code.unlink(missing_ok=True)
            with log.open("a") as file:
                file.write(f"sixfold: {one.id}, attempt {queue['restarts'] + 1}, {datetime.datetime.now():%F %T}\n")
        except OSError as error:
            why = f"{log} cannot be written: {error.strerror}"
            return {**now, "queue": {**queue, "state": "failed", "code": 1, "why": why}}
        words = ["bash", "-c", _ATTEMPT, "sixfold-job", str(Path(one.folder) / "job.sh"), str(log), str(code)]
        marked = {**os.environ, _MARK: _mark(one.id)}
        child = subprocess.Popen(words, stdin=ear, env=marked, start_new_session=True)
        children[one.id] = child
        about = {"pid": child.pid, "born": _born(child.pid), "since": time.time(), "asked": None}
        return {**now, "queue": {**queue, "state": "running", **about}}

    ear, mouth = os.pipe()
    try:
        ledger.change(one.id, begin)
        os.write(mouth, b"go\n")
    finally:  # where that failed, the shell is told nothing, and ends
        os.close(ear)
        os.close(mouth)


def _look_after(entry: dict[str, Any], child: "subprocess.Popen[bytes] | None") -> None:
    """One that runs: has it ended, is it to end?"""
    queue = entry["queue"]
    if child is not None:
        child.poll()  # or it stays in the table of processes
    targets = [-queue["pid"]]  # the group
    if queue["born"] is None or _born(queue["pid"]) != queue["born"]:
        code = _code(entry)
        # Where its shell is gone without a word, what it started may not be, and may hold the folder of the run.
        targets = _marked(entry["id"]) if code is None else []
        if not targets:
            _ended(entry, _LOST if code is None else code)
            return
    now = time.time()
    over = queue["minutes"] is not None and now - queue["since"] > 60 * queue["minutes"]
    if (over or queue["cancel"] or targets[0] > 0) and queue["asked"] is None:
        _signal(targets, signal.SIGTERM)
        ledger.change(entry["id"], lambda one: {**one, "queue": {**one["queue"], "asked": now}})
    elif queue["asked"] is not None and now - queue["asked"] > queue["grace"]:
        _signal(targets, signal.SIGKILL)


def _ended(entry: dict[str, Any], code: int) -> None:
    def end(now: dict[str, Any]) -> dict[str, Any]:
        queue = now["queue"]
        again = code == Preempted.exit_code or code > 128
        state = "finished" if code == 0 else "failed"
        if code and queue["cancel"]:
            state = "cancelled"
        elif again and queue["restarts"] < queue["retries"]:
            state = "queued"
            queue = {**queue, "restarts": queue["restarts"] + 1}
        return {**now, "queue": {**queue, "state": state, "code": code}}

    ledger.change(entry["id"], end)


def _code(entry: dict[str, Any]) -> int | None:
    """How the last attempt ended, where its shell could write that down."""
    try:
        return int(_code_file(ledger.entry_of(entry)).read_text())
    except (OSError, ValueError):
        return None


def _code_file(entry: ledger.Entry) -> Path:
    return entry.log / f"{entry.id}.exit"


def _born(pid: int) -> str | None:
    """When a process was started, in ticks since the machine was; None where it has ended."""
    try:
        about = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if about[0] == "Z" else about[19]


def _mark(number: str) -> str:
    return f"{os.path.abspath(ledger.home())}/{number}"


def _marked(number: str) -> list[int]:
    """What is left of a job: processes that have its mark. Numbers of processes alone tell nothing: they are given
    anew, and those of another machine that shares this folder mean others."""
    mark, found = f"{_MARK}={_mark(number)}".encode(), []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # another user's, or gone
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def _signal(targets: list[int], number: int) -> None:
    for target in targets:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(target, number)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
