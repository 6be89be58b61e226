"""What a person asks of a job: where it runs, how many workers, what each of them gets."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipelines.config import Settings

TARGETS = ("local", "slurm", "kubernetes", "airflow")
_FOR_ONE = {
    **dict.fromkeys(("partition", "account", "sbatch"), "slurm"),
    **dict.fromkeys(("namespace", "kind"), "kubernetes"),
    "cron": "airflow",
}
"""Settings that one target alone has."""
_MINUTES = {"m": 1, "min": 1, "h": 60, "d": 1440}
_LONGEST_MINUTES = 366 * 1440
_SECRET = re.compile(r"TOKEN(?!I)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY|_(KEY|PASS|PWD|PAT)$")
"""In names of variables; but TOKENIZERS_PARALLELISM is none."""
_ACCOUNT = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
"""A name and a password in an address."""


def job_setting(default: Any, help: str, **constraints: Any) -> Any:
    """A field: default, one sentence of help, its range."""
    return Field(default, description=help, json_schema_extra={"group": "job"}, **constraints)


def minutes(text: str) -> int:
    """'90m', '2h', '1d' or '1d12h' as minutes."""
    parts = re.findall(r"([0-9]+)\s*([a-z]+)", text)
    if not parts or not re.fullmatch(r"\s*([0-9]+\s*[a-z]+\s*)+", text):
        raise ValueError
    return sum(int(number) * _MINUTES[unit] for number, unit in parts)


def _check_time(value: str) -> str:
    try:
        if 0 < minutes(value) <= _LONGEST_MINUTES:
            return value
    except (ValueError, KeyError):
        pass
    raise ValueError("write minutes, hours or days, as in 90m, 2h or 1d12h, at most a year")


def _check_memory(value: str) -> str:
    if re.fullmatch(r"[1-9][0-9]{0,6}[MGT]", value):
        return value
    raise ValueError("write a whole number with M, G or T (of 1024), as in 16G")


def _check_name(value: str) -> str:
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", value):
        return value
    raise ValueError("takes small letters, digits and -, at most 40, as schedulers and host names do")


def _pairs(values: Sequence[str], what: str, example: str) -> dict[str, str]:
    """'NAME=VALUE' each, as a mapping of variables."""
    pairs = [value.partition("=") for value in values]
    for (name, equals, value), text in zip(pairs, values, strict=True):
        if not (equals and value and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)):
            raise ValueError(f"{what}, as in {example}; {text!r} is none")
    return {name: value for name, _, value in pairs}


def _check_environment(values: tuple[str, ...]) -> tuple[str, ...]:
    pairs = _pairs(values, "takes NAME=VALUE", "OMP_NUM_THREADS=4")
    for name, value in pairs.items():
        _check_open(name, value)
        if not value.isprintable():
            raise ValueError(f"{name} holds more than one line, or what is no text")
    return values


def _check_open(name: str, value: str) -> None:
    """What stands in a text that is kept is no secret."""
    if _SECRET.search(name.upper()) or _ACCOUNT.search(value):
        raise ValueError(f"{name} would stand in a text that is kept: name where it is found with --secret")


def _check_lines(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        for name, text in re.findall(r"(?=\b(\w+)=(\S*))", value):
            if not text.startswith(("$", '"$')):
                _check_open(name, text)
    return values


def _check_option(value: str) -> str:
    if value.isprintable():
        return value
    raise ValueError("takes one line")


def _check_options(values: tuple[str, ...]) -> tuple[str, ...]:
    return _check_lines(tuple(map(_check_option, values)))


def _check_secrets(values: tuple[str, ...]) -> tuple[str, ...]:
    _pairs(values, "takes NAME=WHERE", "HF_TOKEN=/home/me/.hf-token (a file), or on Kubernetes HF_TOKEN=SECRET/KEY")
    return values


def _check_mounts(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not re.fullmatch(r"[^=\s]+=/[^=\s:]*(:ro)?", value):
            raise ValueError(f"takes SOURCE=/PATH or SOURCE=/PATH:ro, as in pvc:runs=/runs; {value!r} is none")
    return values


Texts = tuple[str, ...]


class JobSettings(Settings):
    """The settings of a job; each is an option of `sixfold submit` and a key of its --job file."""

    to: Literal["local", "slurm", "kubernetes", "airflow"] | None = job_setting(
        None, "What runs the job: a queue on this machine, or a scheduler."
    )
    name: Annotated[str, AfterValidator(_check_name)] | None = job_setting(
        None, "The job's name; by default that of the run's folder."
    )
    nodes: int = job_setting(1, "Machines.", ge=1, le=10_000)
    workers: int | None = job_setting(
        None, "Processes that train together, on all nodes; by default one a node.", ge=1, le=10_000
    )
    gpus: int = job_setting(0, "GPUs of each worker.", ge=0, le=64)
    cpus: int | None = job_setting(None, "Cores of each worker.", ge=1)
    memory: Annotated[str, AfterValidator(_check_memory)] | None = job_setting(
        None, "Memory of each worker, as in 16G."
    )
    time: Annotated[str, AfterValidator(_check_time)] | None = job_setting(
        None, "Longest time of one attempt, as in 90m, 2h or 1d12h; the run saves its state before it is over."
    )
    retries: int = job_setting(20, "How often a job that was cut off is started again.", ge=0, le=1000)
    grace: int = job_setting(
        120, "Seconds between the signal that asks a run to save and end, and its end.", ge=20, le=3600
    )
    at_once: int | None = job_setting(
        None, "Of a prediction in shards: how many at a time; by default as many as there is room for.", ge=1
    )
    image: str | None = job_setting(None, "Container image that has sixfold; on Slurm run by apptainer.")
    env: Annotated[Texts, AfterValidator(_check_environment)] = job_setting(
        (), "A variable of the job's environment, as in OMP_NUM_THREADS=4; may be given several times."
    )
    secret: Annotated[Texts, AfterValidator(_check_secrets)] = job_setting(
        (),
        "A variable whose value is read where the job runs: from a file, on Kubernetes from SECRET/KEY, on Airflow "
        "from a Variable; may be given several times.",
    )
    mount: Annotated[Texts, AfterValidator(_check_mounts)] = job_setting(
        (),
        "What a container sees under a path, as in pvc:runs=/runs, gs://bucket=/data:ro or /home/me=/home/me; may be "
        "given several times.",
    )
    setup: Annotated[Texts, AfterValidator(_check_lines)] = job_setting(
        (), "A line of shell before the command, as 'module load cuda'; may be given several times."
    )
    partition: Annotated[str, AfterValidator(_check_option)] | None = job_setting(None, "Of Slurm: the partition.")
    account: Annotated[str, AfterValidator(_check_option)] | None = job_setting(None, "Of Slurm: the account.")
    sbatch: Annotated[Texts, AfterValidator(_check_options)] = job_setting(
        (), "Of Slurm: a further option of sbatch, as --sbatch=--constraint=a100; repeatable."
    )
    namespace: str | None = job_setting(None, "Of Kubernetes: the namespace.")
    kind: Literal["job", "jobset"] = job_setting(
        "job", "Of Kubernetes: an Indexed Job, or a JobSet, whose workers are restarted together."
    )
    cron: str | None = job_setting(None, "Of Airflow: when it runs, as @weekly; by default when it is triggered.")

    @property
    def all_workers(self) -> int:
        """Processes that train together."""
        return self.workers or self.nodes

    @property
    def environment(self) -> dict[str, str]:
        """Variables by name."""
        return _pairs(self.env, "", "")

    @property
    def secrets(self) -> dict[str, str]:
        """Where the value of each variable is found."""
        return _pairs(self.secret, "", "")

    @property
    def mounts(self) -> list[tuple[str, str, bool]]:
        """(source, path, read only) of each."""
        found = [value.partition("=")[::2] for value in self.mount]
        return [(source, path.removesuffix(":ro"), path.endswith(":ro")) for source, path in found]

    @property
    def minutes(self) -> int | None:
        """Longest time of an attempt."""
        return None if self.time is None else minutes(self.time)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.all_workers % self.nodes:
            raise ValueError(f"workers {self.all_workers} cannot be shared evenly by nodes {self.nodes}")
        if self.minutes is not None and self.minutes * 60 <= self.grace:
            raise ValueError(f"grace {self.grace} seconds leave nothing of time {self.time}: give it more time")
        for name, target in _FOR_ONE.items():
            given = getattr(self, name) != type(self).model_fields[name].default
            if given and self.to not in (None, target):
                raise ValueError(f"{name} is for {target}, and to is {self.to}: drop one of the two")
        return self
