"""Do the DAGs in a folder load in Airflow, with what they promise? `make test-airflow`; knows nothing of Sixfold.

python airflow_dags.py FOLDER
"""

import sys
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag


def main(folder: Path) -> int:
    """Load each file by itself, as two of them may hold a DAG of the same name."""
    files = sorted(folder.glob("*.py"))
    for file in files:
        bag = DagBag(dag_folder=str(file))
        assert not bag.import_errors, bag.import_errors
        (dag,) = bag.dags.values()
        work, check = dag.topological_sort()
        assert check.task_id == "check", check
        assert work.task_id in ("run", "predict"), work
        assert work.downstream_task_ids == {"check"}
        retries = work.partial_kwargs["retries"] if hasattr(work, "partial_kwargs") else work.retries
        assert retries == 20, retries
        assert not dag.catchup
        print(f"{file.name}: {dag.dag_id}, {work.task_id} then {check.task_id}")
    return 0 if files else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
