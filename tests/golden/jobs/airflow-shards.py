"""sixfold-f: written by sixfold submit. Put this file into the folder of DAGs."""

import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

COMMAND = r"""
(
cd /home/me/project || exit 2
/opt/sixfold/bin/sixfold predict runs/f --data 'many images.csv' --output r.jsonl --merge --shard "$SHARD/4"
)
code=$?
# 75: stopped by a signal, its state saved. Above 128: killed. These are tried again, what is left is told to `check`.
if [ $code -eq 75 ] || [ $code -gt 128 ]; then exit $code; fi
echo $code
"""


@dag(
    dag_id='sixfold-f',
    schedule=None,
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
            raise AirflowFailException(f"exit {code}: see the log of the task before (2 settings, 3 data, 4 devices)")

    work = BashOperator.partial(
        task_id='predict',
        bash_command=COMMAND,
        append_env=True,
        do_xcom_push=True,
        retries=20,
        retry_delay=datetime.timedelta(minutes=1),
        execution_timeout=None,
        max_active_tis_per_dag=2,
    ).expand(env=[{} | {"SHARD": str(shard)} for shard in range(4)])
    check.expand(code=work.output)


job()
