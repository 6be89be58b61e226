"""Slurm: a job as a script for sbatch, and what its commands say. A job that was cut off asks to be queued again."""

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.jobs.spec import Job, check_secret_files, preamble, shard_words, shell

FILE = "job.sbatch"
_STATES = {
    "PENDING": "queued",
    "CONFIGURING": "queued",
    "REQUEUED": "queued",
    "RUNNING": "running",
    "COMPLETING": "running",
    "COMPLETED": "finished",
    "CANCELLED": "cancelled",
    "PREEMPTED": "queued",
    "REQUEUE_HOLD": "queued (held)",
    "SPECIAL_EXIT": "queued (held)",
    "RESV_DEL_HOLD": "queued (held)",
    "RESIZING": "running",
    "SIGNALING": "running",
    "STAGE_OUT": "running",
    "STOPPED": "running (stopped)",
    "SUSPENDED": "running (suspended)",
}
_EACH = """trap : TERM; "$@"; code=$?; [ $code -eq 0 ] || [ $code -eq 75 ] || echo $code >>"$ERRORS"; exit $code"""
"""Around each of several workers. What srun gives is their largest exit code: 75 would hide a worker's own error."""

_END = """code=$?{own}
# 75: stopped by a signal or a lost worker, its state saved. Above 128: killed. Nothing else is better the second time.
if [ $code -eq 75 ] || [ $code -gt 128 ]; then
    state=$(squeue --noheader --jobs "$SLURM_JOB_ID" --states all --format %T)
    if [ "$state" != RUNNING ]; then
        echo "sixfold: exit $code, not queued again by the job itself, as Slurm has it as $state" >&2
    elif [ "${{SLURM_RESTART_COUNT:-0}}" -lt {retries} ]; then
        scontrol requeue "$SLURM_JOB_ID" && sleep 60    # Slurm ends this shell
    else
        echo "sixfold: exit $code after {retries} restarts, and --retries {retries} allows no more" >&2
    fi
fi
exit $code
"""


def check(job: Job) -> None:
    """Raise ConfigError where this cannot be a job of Slurm's."""
    check_secret_files(job)
    if "\\" in str(job.folder):
        raise ConfigError(f"{job.folder}: Slurm takes no backslash in the name of a log; choose another folder.")
    mounts = job.settings.mounts
    if mounts and job.settings.image is None:
        raise ConfigError(f"--mount {job.settings.mount[0]}: without --image the job sees what this machine does.")
    for source, path, _ in mounts:
        if not source.startswith("/"):
            raise ConfigError(f"--mount {source}={path}: on Slurm a mount is a folder of the node, as /scratch/me.")
    if job.settings.time is None:
        return
    for option in job.settings.sbatch:
        if option.startswith(("--time", "-t")):
            raise ConfigError(f"--sbatch {option}: --time {job.settings.time} says it already; drop one of the two.")


def render(job: Job) -> str:
    """The script."""
    settings = job.settings
    a_node = settings.all_workers // settings.nodes
    log = "%A_%a.log" if job.shards else "%j.log"
    asked = {
        "job-name": job.name,
        "output": f"{job.log}/".replace("%", "%%") + log,
        "open-mode": "append",
        "requeue": "",
        "nodes": settings.nodes,
        "ntasks": settings.all_workers,
        "ntasks-per-node": a_node,
        "cpus-per-task": settings.cpus,
        "gpus-per-task": settings.gpus or None,
        "mem": _memory(settings.memory, a_node),
        "time": settings.minutes,
        "signal": f"TERM@{settings.grace}",
        "array": _array(job),
        "partition": settings.partition,
        "account": settings.account,
    }
    options = [
        f"--{name}={shlex.quote(str(value))}" if value != "" else f"--{name}"
        for name, value in asked.items()
        if value is not None
    ]
    several = settings.all_workers > 1
    errors = f'export ERRORS={shlex.quote(str(job.log))}/"$SLURM_JOB_ID-${{SLURM_RESTART_COUNT:-0}}.errors"'
    lines = [
        "#!/bin/bash",
        f"# {job.name}: written by sixfold submit. Submit it again with: sbatch {shlex.quote(str(job.folder / FILE))}",
        *(f"#SBATCH {option}" for option in (*options, *settings.sbatch)),
        "",
        *preamble(job),
        *([errors] if several else []),
        "trap : TERM    # the step has the signal too, and saves; this shell is still to ask for the next attempt",
        f"{_step(job)} {_command(job)}",
    ]
    own = '\n[ ! -s "$ERRORS" ] || code=$(sort -n "$ERRORS" | head -n 1)' if several else ""
    return "\n".join(lines) + "\n" + _END.format(retries=settings.retries, own=own)


def _array(job: Job) -> str | None:
    if not job.shards:
        return None
    return f"0-{job.shards - 1}" + (f"%{job.settings.at_once}" if job.settings.at_once else "")


def _step(job: Job) -> str:
    """Without --kill-on-bad-exit and --wait a worker that ends first would take those with it that still save."""
    cpus = f" --cpus-per-task={job.settings.cpus}" if job.settings.cpus else ""
    return f"srun{cpus} --distribution=block --kill-on-bad-exit=0 --wait=0"


def _command(job: Job) -> str:
    if job.shards:
        return _contained(job) + shard_words(job, "$SLURM_ARRAY_TASK_ID")
    if job.settings.all_workers == 1:
        return _contained(job) + shell(job.command)
    own = _contained(job) + shell([*job.program, "launch", "--by", "slurm", *job.words])
    return f"bash -c {shlex.quote(_EACH)} worker {own}"


def _contained(job: Job) -> str:
    if job.settings.image is None:
        return ""
    binds = [f"{source}:{path}{':ro' if fixed else ''}" for source, path, fixed in job.settings.mounts]
    folders = [job.directory, *([] if job.folder.is_relative_to(job.directory) else [job.folder.parent])]
    binds += [f"{folder}:{folder}" for folder in folders]
    words = ["apptainer", "exec", *(["--nv"] if job.settings.gpus else []), "--pwd", str(job.directory)]
    words += [word for bind in binds for word in ("--bind", bind)]
    return shell([*words, job.settings.image]) + " "


def _memory(text: str | None, workers: int) -> str | None:
    """Of a node."""
    return None if text is None else f"{int(text[:-1]) * workers}{text[-1]}"


def submit(job: Job) -> str:
    """Queue the script, which lies in the job's folder; its number.

    Raises:
        ConfigError: Slurm will never run it, or is not here.
    """
    script = str(job.folder / FILE)
    _asked(["sbatch", "--test-only", script])
    answer = _asked(["sbatch", "--parsable", script]).strip()
    number = answer.partition(";")[0]
    if not number.isdigit():
        raise ConfigError(f"sbatch answered {answer!r}, which is no number of a job: look with squeue --me.")
    return number


def states(ids: Sequence[str]) -> dict[str, str]:
    """What Slurm knows of these jobs; what it has forgotten is left out."""
    return {number: state for number in ids if (state := _state(number))}


def _state(number: str) -> str | None:
    """Of an array: how many of its tasks stand where."""
    try:
        told = _asked(["scontrol", "show", "job", "--oneliner", number])
    except ConfigError as error:
        if "Invalid job id" not in str(error):
            raise
        return None
    found: dict[str, int] = {}
    for line in told.splitlines():
        about = dict(re.findall(r"(\w+)=(\S*)", line))
        if "JobState" in about:
            state = _STATES.get(about["JobState"], "failed")
            if state == "failed":
                code = about.get("ExitCode", "").partition(":")[0]
                state = f"failed ({about['JobState'].lower()}, exit {code})"
            if state == "queued" and about.get("Reason", "None") != "None":
                state = f"queued ({about['Reason']})"
            if state == "running" and about.get("Restarts", "0") != "0":
                state = f"running (attempt {int(about['Restarts']) + 1})"
            found[state] = found.get(state, 0) + _members(about.get("ArrayTaskId", ""))
    if len(found) <= 1:
        return next(iter(found), None)
    return ", ".join(f"{count} {state}" for state, count in sorted(found.items()))


def _members(text: str) -> int:
    """Tasks of an array that one line stands for: '3' or '4-7%2'."""
    first, _, last = text.partition("%")[0].partition("-")
    return int(last) - int(first) + 1 if last.isdigit() and first.isdigit() else 1


def logs(folder: Path, number: str) -> list[Path]:
    """One, to which every attempt is appended; of an array one for each shard."""
    shards = sorted(folder.glob(f"{number}_*.log"), key=lambda file: int(file.stem.partition("_")[2]))
    return [*folder.glob(f"{number}.log"), *shards]


def cancel(number: str) -> None:
    """End it; a step that runs gets SIGTERM first, and what it has saved by Slurm's KillWait stands."""
    _asked(["scancel", number])


def _asked(words: list[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        raise ConfigError(
            f"{words[0]}: there is no such command: submit where Slurm is installed, or use --dry-run."
        ) from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{words[0]} does not answer within a minute: ask who looks after the cluster.") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit {done.returncode}"
        raise ConfigError(f"{words[0]} refuses: {said}")
    return done.stdout
