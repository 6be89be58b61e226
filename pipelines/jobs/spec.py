"""A job: what is run, with what it is to get, and the texts that are kept of it."""

import datetime
import hashlib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines import registry
from pipelines.config import RunConfig, write_config
from pipelines.errors import ConfigError
from pipelines.jobs.settings import JobSettings
from pipelines.runs import Run

IN_CONTAINER = "/etc/sixfold/run.yaml"
"""Where the run file lies in a pod."""


@dataclass(frozen=True)
class Job:
    """One command of Sixfold, once, or once for each shard."""

    settings: JobSettings
    name: str
    words: tuple[str, ...]
    """The command line behind the program."""
    program: tuple[str, ...]
    """How the program is called where the job runs."""
    output: str
    """What comes out of it: the run folder, or the file of predictions."""
    folder: Path
    """Absolute: where the texts and the log of the job lie."""
    directory: Path
    """Absolute: where relative paths begin."""
    run_file: str | None = None
    """The text of the settings that --config names."""
    shards: int = 0
    """Parts that are computed independently of each other; 0: it is one run."""

    @property
    def command(self) -> tuple[str, ...]:
        """The program and its words."""
        return (*self.program, *self.words)

    @property
    def log(self) -> Path:
        """The folder of its logs."""
        return self.folder / "logs"


def of_run(task: str, config: RunConfig, settings: JobSettings) -> Job:
    """The job of a run whose settings are checked.

    Raises:
        ConfigError: what was asked for cannot be a job.
    """
    if settings.at_once is not None:
        raise ConfigError(f"--at-once {settings.at_once}: a run has no shards; leave it out.")
    if config.overwrite:
        raise ConfigError(
            "--overwrite would begin anew at each restart: remove the old folder, or choose another with --run-dir."
        )
    run_dir = Path(config.run_dir or _new_folder(task, config, settings))
    asked = config.model_copy(update={"run_dir": None, "overwrite": False})
    if settings.to != "kubernetes":
        _check_folder(run_dir, task, asked)
    text = write_config(asked, task, asked.model_fields_set - {"run_dir", "overwrite"})
    folder = _job_folder(run_dir, settings)
    file = IN_CONTAINER if settings.to == "kubernetes" else str(folder / "run.yaml")
    words = ["run", task, "--config", file, "--run-dir", str(run_dir)]
    if settings.gpus and config.require is None and config.device in ("auto", "gpu"):
        words += ["--require", f"gpu:{settings.gpus}"]
    return _readable(
        Job(settings, _name(settings, run_dir), tuple(words), program(settings), str(run_dir), folder, Path.cwd(), text)
    )


def of_prediction(words: Sequence[str], output: Path, shards: int, settings: JobSettings) -> Job:
    """The job of predicting in shards, each of which is a word `--shard i/n` behind these."""
    if settings.all_workers > 1:
        raise ConfigError(f"--workers {settings.all_workers}: predicting has shards instead; leave it out.")
    if settings.to != "kubernetes" and output.is_dir():
        raise ConfigError(f"--output {output} is a folder: name the file that the records are merged into.")
    folder = _job_folder(output, settings)
    told = ("predict", *words, "--output", str(output))
    return _readable(
        Job(settings, _name(settings, output), told, program(settings), str(output), folder, Path.cwd(), shards=shards)
    )


def program(settings: JobSettings) -> tuple[str, ...]:
    """As it is called in the image, or by its path here: a job's shell may have another search path."""
    if settings.image is not None:
        return ("sixfold",)
    beside = Path(sys.executable).parent / "sixfold"
    return (str(beside),) if beside.exists() else (sys.executable, "-P", "-m", "pipelines.cli")


def shell(words: Sequence[str]) -> str:
    """As one types them."""
    return " ".join(map(shlex.quote, words))


def shard_words(job: Job, index: str) -> str:
    """The command of one shard, as shell; its number is what `index` expands to."""
    return f'{shell(job.command)} --merge --shard "{index}/{job.shards}"'


def go_there(job: Job) -> str:
    """A line of shell: to the folder where relative paths begin, or no further."""
    return f"cd {shlex.quote(str(job.directory))} || exit 2"


def preamble(job: Job) -> list[str]:
    """Lines of shell before the command: folder, environment, secrets from their files, what was asked for."""
    settings = job.settings
    lines = [go_there(job)]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in settings.environment.items()]
    for name, file in settings.secrets.items():
        lines += [f'{name}="$(cat {shlex.quote(file)})" || exit 2', f"export {name}"]
    return [*lines, *settings.setup]


def check_secret_files(job: Job) -> None:
    """Where secrets are files: they are there."""
    for name, file in job.settings.secrets.items():
        if not Path(file).exists():
            raise ConfigError(f"--secret {name}={file}: there is no such file, and its content is the secret.")


def _new_folder(task: str, config: RunConfig, settings: JobSettings) -> Path:
    short = hashlib.sha256(write_config(config, task).encode()).hexdigest()[:6]
    name = settings.name or f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{short}"
    return Path("runs") / registry.check_name(task) / name


def _job_folder(output: Path, settings: JobSettings) -> Path:
    """Beside what comes out; for a pod, which has other paths, in the current folder."""
    name = _last_part(output)
    place = Path("jobs").absolute() if settings.to == "kubernetes" else Path(os.path.abspath(output)).parent
    return place / f"{name}.job"


def _last_part(output: Path) -> str:
    """Also of `.`"""
    if name := Path(os.path.abspath(output)).name:
        return name
    raise ConfigError(f"{output} is no place for what comes out of a job: name a folder in it.")


def _readable(job: Job) -> Job:
    """The job, whose texts can be written and read, line by line.

    Raises:
        ConfigError: a path breaks them.
    """
    for text in (*job.words, str(job.directory)):
        if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", text):
            raise ConfigError(f"{text!r} holds a line break or what is no text: a job needs paths without these.")
    return job


def _name(settings: JobSettings, output: Path) -> str:
    if settings.name is not None:
        return settings.name
    plain = re.sub(r"[^a-z0-9]+", "-", _last_part(output).lower()).strip("-")
    return f"sixfold-{plain}"[:40].rstrip("-")


def _check_folder(run_dir: Path, task: str, asked: RunConfig) -> None:
    """It is new, or holds a run that is to go on and has these settings."""
    run = Run(run_dir)
    if run_dir.is_dir() and not run.is_new:
        if run.settings.is_file() and run.finished:
            raise ConfigError(f"run_dir: the run in {run_dir} is finished: choose another with --run-dir.")
        from pipelines.resuming import continued

        continued(run, task, asked)
    place = next(folder for folder in (run_dir, *run_dir.resolve().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ConfigError(f"run_dir: {run_dir} cannot be written: choose another with --run-dir.")
