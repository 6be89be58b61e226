"""Airflow: a job as the text of a DAG. Airflow itself runs it, and shows its states and logs."""

import re

from pipelines.errors import ConfigError
from pipelines.jobs.spec import Job, go_there, shard_words, shell

FILE = "dag.py"

_HEAD = '''"""{name}: written by sixfold submit. Put this file into the folder of DAGs."""

import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

COMMAND = r"""
(
{script}
)
code=$?
# 75: stopped by a signal, its state saved. Above 128: killed. These are tried again, what is left is told to `check`.
if [ $code -eq 75 ] || [ $code -gt 128 ]; then exit $code; fi
echo $code
"""


@dag(
    dag_id={name!r},
    schedule={schedule!r},
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["sixfold"],
)
def job():
    @task
    def check(code: str) -> None:
        """What would end in the same way again fails at once."""
        if code.strip() != "0":
            raise AirflowFailException(f"exit {{code}}: see the log of the task before (2 settings, 3 data, 4 devices)")

'''

_EACH_TIME = "-{{ dag_run.run_after | ts_nodash }}"
"""Behind the folder of a DAG with a schedule: each time is a run of its own, and a retry goes on with it."""
_OPERATOR = """BashOperator(
        task_id={task!r},
        bash_command=COMMAND,
        env={env},
        append_env=True,
        do_xcom_push=True,
        retries={retries},
        retry_delay=datetime.timedelta(minutes=1),
        execution_timeout={timeout},
    )"""

_SHARDS = """BashOperator.partial(
        task_id={task!r},
        bash_command=COMMAND,
        append_env=True,
        do_xcom_push=True,
        retries={retries},
        retry_delay=datetime.timedelta(minutes=1),
        execution_timeout={timeout},
        max_active_tis_per_dag={at_once},
    ).expand(env=[{env} | {{"SHARD": str(shard)}} for shard in range({shards})])"""


def check(job: Job) -> None:
    """Raise ConfigError where this cannot be a DAG."""
    settings = job.settings
    for name in ("image", "mount", "memory", "cpus"):
        if getattr(settings, name):
            raise ConfigError(f"--{name}: a task of this DAG has what its Airflow worker has; leave it out.")
    if job.shards and settings.cron:
        raise ConfigError(f"--cron {settings.cron}: parts that are there are not predicted again; leave it out.")
    if settings.nodes > 1:
        raise ConfigError(f"--nodes {settings.nodes}: a task of Airflow runs on one machine; use --workers there.")


def render(job: Job) -> str:
    """The DAG's file."""
    settings = job.settings
    environment = {name: _literal(text) for name, text in settings.environment.items()}
    secrets = {name: f"{{{{ var.value.get({where!r}) }}}}" for name, where in settings.secrets.items()}
    told = {
        "task": job.words[0],
        "env": repr({**environment, **secrets}),
        "retries": settings.retries,
        "timeout": f"datetime.timedelta(minutes={settings.minutes})" if settings.minutes else None,
        "shards": job.shards,
        "at_once": settings.at_once,
    }
    operator = (_SHARDS if job.shards else _OPERATOR).format(**told)
    checked = "check.expand(code=work.output)" if job.shards else "check(work.output)"
    body = f"    work = {operator}\n    {checked}\n\n\njob()\n"
    return _HEAD.format(name=job.name, schedule=settings.cron, script=_script(job)) + body


def _script(job: Job) -> str:
    settings = job.settings
    by = ("launch", "--workers", str(settings.all_workers)) if settings.all_workers > 1 else ()
    each = _EACH_TIME if settings.cron else ""
    words = [_literal(word) + (each if word == job.output else "") for word in (*job.program, *by, *job.words)]
    last = _literal(shard_words(job, "$SHARD")) if job.shards else shell(words)
    return "\n".join([*map(_literal, (go_there(job), *settings.setup)), last])


def _literal(text: str) -> str:
    """Airflow takes the script and the variables for templates, and Python would end the script at three quotes."""
    return re.sub(r'\{(?=[{%#])|"(?="")', r"{% raw %}\g<0>{% endraw %}", text)
