"""Jobs elsewhere: what is asked for, the texts, what schedulers are told. No scheduler is needed, and no TensorFlow.

The files in golden/jobs are the texts as a person reviews them; a missing one is written anew.
"""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import registry
from pipelines.cli import main
from pipelines.cli.jobs import switches
from pipelines.clusters import await_names, expand_counts, expand_nodes, told_by
from pipelines.config import load_settings
from pipelines.errors import ConfigError, Preempted
from pipelines.jobs import kubernetes, slurm
from pipelines.jobs.settings import JobSettings
from pipelines.jobs.spec import IN_CONTAINER, Job
from pipelines.jobs.targets import TARGETS

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden" / "jobs"
TASK = "image-classification"
HERE = Path("/home/me/project")
POD = {"image": "registry.example/sixfold:1", "mount": ["pvc:runs=/runs"]}
SHAPES: dict[str, tuple[dict[str, Any], int]] = {
    "local.sh": ({"to": "local", "workers": 2, "time": "2h", "env": ["OMP_NUM_THREADS=4"]}, 0),
    "local-shards.sh": ({"to": "local"}, 4),
    "slurm.sbatch": (
        {
            "to": "slurm",
            "nodes": 2,
            "gpus": 1,
            "cpus": 8,
            "memory": "32G",
            "time": "2h",
            "partition": "gpu",
            "account": "me",
            "setup": ["module load cuda"],
            "env": ["OMP_NUM_THREADS=8", "NOTE=two words"],
            "secret": ["HF_TOKEN=/dev/null"],
            "sbatch": ["--constraint=a100"],
        },
        0,
    ),
    "slurm-image.sbatch": ({"to": "slurm", "image": "sixfold.sif", "mount": ["/scratch=/data:ro"], "gpus": 1}, 0),
    "slurm-shards.sbatch": ({"to": "slurm", "at_once": 8, "retries": 3}, 64),
    "kubernetes.yaml": (
        {
            **POD,
            "to": "kubernetes",
            "mount": ["pvc:runs=/runs", "gs://bucket=/data:ro"],
            "nodes": 2,
            "gpus": 1,
            "cpus": 4,
            "memory": "16G",
            "time": "1d",
            "namespace": "team",
            "env": ["OMP_NUM_THREADS=4"],
            "secret": ["HF_TOKEN=hub/token"],
        },
        0,
    ),
    "kubernetes-jobset.yaml": ({**POD, "to": "kubernetes", "nodes": 2, "kind": "jobset", "setup": ["nvidia-smi"]}, 0),
    "kubernetes-shards.yaml": ({**POD, "to": "kubernetes", "at_once": 8}, 64),
    "airflow.py": (
        {"to": "airflow", "cron": "@weekly", "time": "2h", "env": ["A=1"], "secret": ["HF_TOKEN=hf_token"]},
        0,
    ),
    "airflow-shards.py": ({"to": "airflow", "at_once": 2}, 4),
}


def job(shards: int = 0, **asked: Any) -> Job:
    settings = JobSettings(**asked)
    run_dir, records = (
        ("/runs/flowers", "/runs/records.jsonl") if settings.to == "kubernetes" else ("runs/f", "r.jsonl")
    )
    folder = HERE / "runs" / "f.job"
    run_file = IN_CONTAINER if settings.to == "kubernetes" else str(folder / "run.yaml")
    words = ["run", TASK, "--config", run_file, "--run-dir", run_dir]
    if shards:
        words = ["predict", run_dir, "--data", "many images.csv", "--output", records]
    program = ("sixfold",) if settings.image else ("/opt/sixfold/bin/sixfold",)
    text = None if shards else f"task: {TASK}\nepochs: 3\n"
    output = records if shards else run_dir
    return Job(settings, "sixfold-f", tuple(words), program, output, folder, HERE, text, shards)


def shaped(name: str) -> Job:
    asked, shards = SHAPES[name]
    return job(shards, **asked)


def rendered(name: str) -> str:
    one = shaped(name)
    target = TARGETS[str(one.settings.to)]
    target.check(one)
    return target.render(one)


@pytest.mark.parametrize("name", SHAPES)
def test_golden(name: str) -> None:
    file = GOLDEN / name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rendered(name), encoding="utf-8")
    assert rendered(name) == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in SHAPES if name.endswith(("sh", "sbatch"))])
def test_scripts_are_shell(name: str) -> None:
    subprocess.run(["bash", "-n"], input=rendered(name), text=True, check=True)


@pytest.mark.parametrize("name", [name for name in SHAPES if name.endswith(".py")])
def test_a_dag_is_python_that_defines_one_dag(name: str) -> None:
    tree = ast.parse(rendered(name))
    modules = {one.module for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)}
    assert modules == {"airflow.sdk", "airflow.sdk.exceptions", "airflow.providers.standard.operators.bash"}
    operators = [
        one for one in ast.walk(tree) if isinstance(one, ast.Call) and ast.unparse(one.func).startswith("BashOperator")
    ]
    assert operators
    retries = [ast.literal_eval(k.value) for one in operators for k in one.keywords if k.arg == "retries"]
    assert retries == [20]


def documents(name: str) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all(rendered(name))}


def pod_of(work: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = work["template"]["spec"]
    return pod


def test_kubernetes_restarts_what_can_be_better() -> None:
    work = documents("kubernetes.yaml")["Job"]["spec"]
    final, again, disrupted = work["podFailurePolicy"]["rules"]
    assert (final["action"], final["onExitCodes"]["values"]) == ("FailJob", [1, 2, 3, 4, 5, 78])
    assert (again["action"], again["onExitCodes"]["values"]) == ("Ignore", [75])
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    pod = pod_of(work)
    assert {final["onExitCodes"]["containerName"], again["onExitCodes"]["containerName"]} == {
        one["name"] for one in pod["containers"]
    }
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy asks for it
    assert work["backoffLimit"] == 20
    assert pod["terminationGracePeriodSeconds"] >= 60


def test_pods_find_each_other_by_the_names_that_kubernetes_gives_them() -> None:
    found = documents("kubernetes.yaml")
    name, service = found["Job"]["metadata"]["name"], found["Service"]
    pod = pod_of(found["Job"]["spec"])
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    (told,) = (one["value"] for one in pod["containers"][0]["env"] if one["name"] == "SIXFOLD_WORKERS")
    assert told == f"{name}-0.{name}:2222,{name}-1.{name}:2222"
    assert pod["containers"][0]["command"][:4] == ["sixfold", "launch", "--by", "kubernetes"]
    config = told_by("kubernetes", {"SIXFOLD_WORKERS": told, "JOB_COMPLETION_INDEX": "1"})
    assert config["task"] == {"type": "worker", "index": 1}


def test_a_jobset_restarts_all_workers_together() -> None:
    """As the CRD of v1alpha2 has it: its keys, its enums; the Job inside is checked as a Job."""
    found = documents("kubernetes-jobset.yaml")
    assert set(found) == {"ConfigMap", "JobSet"}  # its service it makes itself
    spec = found["JobSet"]["spec"]
    assert found["JobSet"]["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert set(spec) == {"network", "failurePolicy", "replicatedJobs"}
    assert set(spec["network"]) <= {"enableDNSHostnames", "publishNotReadyAddresses", "subdomain"}
    policy = spec["failurePolicy"]
    assert (set(policy), policy["restartStrategy"]) == (
        {"maxRestarts", "restartStrategy", "rules"},
        "BlockingRecreate",
    )
    again, final = policy["rules"]
    assert again["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert final == {"name": "final", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    (group,) = spec["replicatedJobs"]
    assert set(group) == {"name", "replicas", "template"}
    work = group["template"]["spec"]
    assert work["backoffLimit"] == 0  # a failed worker fails its job, and so all are started again
    (pattern,) = again["onJobFailureMessagePatterns"]
    for index, rule in enumerate(work["podFailurePolicy"]["rules"]):
        message = f"Container sixfold for pod team/a failed with exit code N matching FailJob rule at index {index}"
        assert rule["action"] == "FailJob"  # the whole gang, not this one alone
        assert bool(re.search(pattern, message)) == ("onPodConditions" in rule or 75 in rule["onExitCodes"]["values"])
    (told,) = (one["value"] for one in pod_of(work)["containers"][0]["env"] if one["name"] == "SIXFOLD_WORKERS")
    assert told.split(",")[1] == "sixfold-f-workers-0-1.sixfold-f:2222"


@pytest.mark.parametrize("version", ["1.33", "1.37"])
@pytest.mark.parametrize("name", [name for name in SHAPES if name.endswith(".yaml")])
def test_manifests_hold_what_kubernetes_knows(name: str, version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is in the extra [dev]")
    found = documents(name)
    if "JobSet" in found:
        job_set = found.pop("JobSet")
        (group,) = job_set["spec"]["replicatedJobs"]
        about = {"apiVersion": "batch/v1", "kind": "Job", "metadata": job_set["metadata"]}
        found["Job"] = {**about, **group["template"]}
    for one in found.values():
        assert validator.validate(one, version, strict=True)
        broken = {**one, "mistake": 1}
        with pytest.raises(validator.ValidationError):
            validator.validate(broken, version, strict=True)


def test_a_folder_of_any_name() -> None:
    """Blanks, and what sbatch would take for a number of the job."""
    one = job(to="slurm")
    one = replace(one, folder=Path("/home/me/my runs/100%j.job"), directory=Path("/home/me/my runs"))
    text = slurm.render(one)
    assert "#SBATCH --output='/home/me/my runs/100%%j.job/logs/%j.log'\n" in text
    assert "\ncd '/home/me/my runs' || exit 2\n" in text


ODD = """a'b"c $(id) `id` $$ $(A) {{ 1 }} {# x #} {% y %} \"\"\" ü"""


def test_what_templates_and_shells_would_read_is_handed_on_as_it_is() -> None:
    """Kubernetes puts variables for $(NAME), Airflow computes what stands in braces."""

    def odd(to: str, **more: Any) -> tuple[Job, str]:
        one = job(to=to, env=[f"A={ODD}"], **more)
        one = replace(one, words=(*one.words, ODD))
        return one, TARGETS[to].render(one)

    one, text = odd("kubernetes", **POD)
    container = pod_of(list(yaml.safe_load_all(text))[-1]["spec"])["containers"][0]
    assert as_kubernetes(container["env"][0]["value"]) == ODD
    assert [as_kubernetes(word) for word in container["command"]] == [*one.command]
    jinja2 = pytest.importorskip("jinja2")
    one, text = odd("airflow")
    values = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant | ast.Dict)]
    (script,) = (node.value for node in values if isinstance(node, ast.Constant) and "code=$?" in str(node.value))
    (variables,) = (ast.literal_eval(node) for node in values if isinstance(node, ast.Dict))
    line = jinja2.Template(script).render().splitlines()[3]
    assert shlex.split(line) == [*one.command]
    assert jinja2.Template(variables["A"]).render() == ODD
    for to in ("local", "slurm"):
        one, text = odd(to)
        (line,) = (line for line in text.splitlines() if " run image-classification" in line)
        assert shlex.split(line)[-len(one.command) :] == [*one.command]


def as_kubernetes(text: str) -> str:
    """As its documentation has it: $(NAME) of a variable that there is, $$ for one $."""
    return re.sub(r"\$\$|\$\(A\)", lambda found: "$" if found[0] == "$$" else "wrong", text)


def test_an_error_of_one_worker_is_not_hidden_by_the_75_of_the_others(tmp_path: Path) -> None:
    """By an srun of ours: two tasks, the larger exit code."""
    programs = {
        "srun": 'while [ "$1" != bash ]; do shift; done; worst=0\n'
        'for task in 0 1; do TASK=$task "$@"; code=$?; [ $code -le $worst ] || worst=$code; done; exit $worst',
        "sixfold": "exit ${CODES[$TASK]}",
        "squeue": "echo RUNNING",
        "scontrol": "echo again; exit 1",
    }
    for name, lines in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\nCODES=($GIVEN)\n{lines}\n")
        (tmp_path / name).chmod(0o755)
    one = replace(job(to="slurm", nodes=2), program=("sixfold",), folder=tmp_path / "a b", directory=tmp_path)
    one.log.mkdir(parents=True)
    (tmp_path / "job").write_text(slurm.render(one))
    told = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ends = []
    for number, codes in enumerate(("0 0", "75 75", "75 4", "1 75", "75 137", "137 3")):
        environment = {**told, "GIVEN": codes, "SLURM_JOB_ID": str(number)}
        done = subprocess.run(["bash", tmp_path / "job"], env=environment, capture_output=True, text=True, check=False)
        ends.append((done.returncode, "again" in done.stdout))
    assert ends == [(0, False), (75, True), (4, False), (1, False), (137, True), (3, False)]


def test_a_secret_stands_in_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("sesame")
    monkeypatch.setenv("SESAME", "sesame")
    wanted = {"local": str(file), "slurm": str(file), "kubernetes": "hub/token", "airflow": "token"}
    for to, where in wanted.items():
        one = job(to=to, secret=[f"HF_TOKEN={where}"], **(POD if to == "kubernetes" else {}))
        TARGETS[to].check(one)
        text = TARGETS[to].render(one)
        assert "HF_TOKEN" in text
        assert "sesame" not in text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("--to slurm --env HF_TOKEN=abc", "--env HF_TOKEN=abc: HF_TOKEN would stand in a text that is kept"),
        ("--to slurm --env A", "--env A: takes NAME=VALUE"),
        ("--to slurm --time 2", "--time 2: write minutes, hours or days"),
        ("--to slurm --memory 16", "--memory 16: write a whole number with M, G or T"),
        ("--to slurm --nodes 0", "--nodes takes a whole number from 1 to 10000, not 0"),
        ("--to slurm --nodes 2 --workers 3", "workers 3 cannot be shared evenly by nodes 2 (nodes: --nodes,"),
        ("--to slurm --time 1m --grace 90", "grace 90 seconds leave nothing of time 1m"),
        ("--to slrum", "--to takes one of local, slurm, kubernetes, airflow, or none, not slrum: did you mean slurm?"),
        ("", "--to is missing"),
        ("--to slurm --time 400d", "--time 400d: write minutes, hours or days, as in 90m, 2h or 1d12h, at most a year"),
        ("--to slurm --env HTTPS_PROXY=http://me:pw@host:80", "HTTPS_PROXY would stand in a text that is kept"),
        ("--to slurm --env TOKENIZERS_PARALLELISM=0 --gpus 65", "--gpus takes a whole number from 0 to 64, not 65"),
        ("--to slurm --setup HF_TOKEN=abc", "HF_TOKEN would stand in a text that is kept"),
        ("--to slurm --sbatch=--export=HF_TOKEN=abc", "HF_TOKEN would stand in a text that is kept"),
        ("--to slurm --at-once 2", "--at-once 2: a run has no shards"),
        ("--to kubernetes --image x --run-dir /", "/ is no place for what comes out of a job"),
        ("--to slurm --cron @daily", "cron is for airflow, and to is slurm"),
        ("--to slurm --kind jobset", "kind is for kubernetes, and to is slurm"),
        ("--to airflow --cpus 2", "--cpus: a task of this DAG has what its Airflow worker has"),
        ("--to kubernetes --image x --name 1a", "on Kubernetes it begins with a letter"),
        ("--to local --partition gpu", "partition is for slurm, and to is local"),
        ("--to local --nodes 2", "--nodes 2: this is one machine"),
        ("--to local --image x", "--image: the queue of this machine has no containers"),
        ("--to local --name Big_Run", "--name Big_Run: takes small letters, digits and -"),
        ("--to slurm --secret A=/nowhere", "--secret A=/nowhere: there is no such file"),
        ("--to slurm --mount /a=/b", "--mount /a=/b: without --image"),
        ("--to slurm --overwrite", "--overwrite would begin anew at each restart"),
        ("--to slurm --epochs 0", "--epochs takes"),
        ("--to slurm --job nowhere.yaml", "--job nowhere.yaml: there is no such file"),
        ("--to kubernetes", "--image: a pod is made from an image"),
        ("--to kubernetes --image x", "lies on no mount and would be lost with its pod"),
        ("--to kubernetes --image x --mount pvc:a=/runs --run-dir /runs/../a", "lies on no mount"),
        ("--to local --run-dir tests", "tests is not empty and no run folder"),
        ("--to kubernetes --image x --mount gs://b=/runs", "files in a bucket cannot be locked or renamed; add :ro"),
        ("--to kubernetes --image x --mount /a=/runs", "on Kubernetes it is pvc:CLAIM=/PATH"),
        ("--to kubernetes --image x --secret A=b", "on Kubernetes it is SECRET/KEY"),
        ("--to airflow --memory 1G", "--memory: a task of this DAG has what its Airflow worker has"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    asked: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["submit", TASK, *asked.split(), "--dry-run"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["submit", TASK, "--to", "slurm", "--gpus", "1", "--epochs", "3", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "#SBATCH --gpus-per-task=1" in text
    assert "--require gpu:1" in text  # or the run would go on without one
    assert list(tmp_path.iterdir()) == []


def finished_run(folder: Path) -> None:
    """As far as submitting looks at it."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.keras").touch()
    (folder / "run.yaml").write_text(f"task: {TASK}\n")
    (folder / "manifest.json").write_text(json.dumps({"task": TASK}))


def test_what_is_said_of_predict_is_said_again_by_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    finished_run(tmp_path / "run")
    (tmp_path / "a b.csv").touch()
    words = ["submit", "predict", "run", "--data", "a b.csv", "--columns", "image=a", "text=b", "-k", "3", "--format"]
    words += ["csv", "--output", "out.csv", "--shards", "5", "--to", "slurm", "--gpus", "1", "--dry-run"]
    assert main(words) == 0
    (line,) = (one for one in capsys.readouterr().out.splitlines() if one.startswith("srun"))
    said = shlex.split(line)
    assert said[said.index("predict") :] == [
        *("predict", "run", "--data", "a b.csv", "--format", "csv", "--top-k", "3", "--columns", "image=a"),
        *("--columns", "text=b", "--output", "out.csv", "--merge", "--shard", "$SLURM_ARRAY_TASK_ID/5"),
    ]
    (tmp_path / "-x.csv").touch()
    assert main(["submit", "predict", "--to", "slurm", "--dry-run", "--", "run", "-x.csv"]) == 0
    told = capsys.readouterr()
    assert " predict run ./-x.csv --output -x.predictions.jsonl --merge" in told.out
    assert "the records come to -x.predictions.jsonl" in told.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "no.csv"], 2, "no.csv: there is no such file to predict for"),
        (["run", "-"], 2, "a job has no standard input"),
        (["run", "a.csv", "--output", "-"], 2, "a job has no standard output"),
        (["run", "a.csv", "--output", "run"], 2, "--output run is a folder"),
        (["run", "a.csv", "--data", "a.csv"], 2, "say the same"),
        (["run", "--output", "o"], 2, "Missing argument"),
        (["run", "a.csv", "--encoding", "utf-7000"], 2, "--encoding"),
        (["run", "a.csv", "--beams", "3"], 2, "is an option of"),
        (["run", "a.csv", "--workers", "2"], 2, "predicting has shards instead"),
        (["run", "a.csv", "--shards", "0"], 2, "--shards"),
        (["run", "a\nb.csv"], 2, "holds a line break"),
        (["none", "a.csv"], 78, "there is no run folder none"),
        (["cut", "a.csv"], 78, "cut holds no model, its run was cut short"),
    ],
)
def test_what_cannot_be_predicted_is_not_submitted(
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    finished_run(tmp_path / "run")
    finished_run(tmp_path / "cut")
    (tmp_path / "cut" / "model" / "model.keras").unlink()
    for name in ("a.csv", "a\nb.csv"):
        (tmp_path / name).touch()
    assert main(["submit", "predict", *words, "--to", "slurm", "--dry-run"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_job_file_and_options(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("to: slurm\ngpus: 2\nenv: [A=1, 'B=x, y']\n")
    found = load_settings(JobSettings, file=file, options={"gpus": "4"})
    assert (found.to, found.gpus, found.environment) == ("slurm", 4, {"A": "1", "B": "x, y"})
    file.write_text("to: slurm\ngpu: 2\n")
    with pytest.raises(ConfigError, match="line 2: unknown setting 'gpu': did you mean gpus"):
        load_settings(JobSettings, file=file, options={})


def test_options_of_jobs_and_settings_of_tasks_have_names_of_their_own() -> None:
    ours = {str(option.name) for option in switches()}
    for task in registry.TASKS:
        assert not ours & registry.config_class(task).model_fields.keys()


def test_what_airflow_submits_is_written_beside_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIXFOLD_JOBS", str(tmp_path / "state"))
    assert main(["submit", TASK, "--to", "airflow", "--epochs", "3", "--run-dir", "runs/a"]) == 0
    folder = tmp_path / "runs" / "a.job"
    assert (folder / "dag.py").read_text() == capsys.readouterr().out
    written = (folder / "run.yaml").read_text()
    assert "\nepochs: 3\n" in written
    assert "\n#batch_size:" in written  # open to what the data decide, as in `run`
    assert main(["config", "validate", TASK, "--config", str(folder / "run.yaml")]) == 0


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ["a"]),
        ("a,b-2", ["a", "b-2"]),
        ("a[01-03,7],b", ["a01", "a02", "a03", "a7", "b"]),
        ("r[1-2]n[08-10]", ["r1n08", "r1n09", "r1n10", "r2n08", "r2n09", "r2n10"]),
    ],
)
def test_nodes_as_slurm_writes_them(text: str, names: list[str]) -> None:
    assert expand_nodes(text) == names


def test_the_place_of_a_task_of_slurm() -> None:
    assert expand_counts("2(x3),1") == [2, 2, 2, 1]
    variables = {"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_JOB_ID": "7"}
    told = told_by("slurm", {**variables, "SLURM_PROCID": "3"})
    workers = told["cluster"]["worker"]
    assert [one.partition(":")[0] for one in workers] == ["n1", "n1", "n2", "n2"]
    assert len(set(workers)) == 4
    assert told["task"] == {"type": "worker", "index": 3}
    for wrong in ({}, {**variables, "SLURM_PROCID": "4"}, {**variables, "SLURM_STEP_TASKS_PER_NODE": "2"}):
        with pytest.raises(ConfigError, match="this is no worker of a job of slurm"):
            told_by("slurm", wrong)


def test_a_worker_without_an_address_is_tried_again() -> None:
    await_names(["localhost:1"])
    with pytest.raises(Preempted, match="no address"):
        await_names(["no-such-host.invalid:1"], patience=0.01)


def test_launch_by_sets_the_place_and_becomes_the_worker(tmp_path: Path) -> None:
    """A wrong setting ends it: the exit code is that of run itself, not of a launcher."""
    told = {"SIXFOLD_WORKERS": "localhost:1,localhost:2", "JOB_COMPLETION_INDEX": "1"}
    words = [sys.executable, "-m", "pipelines.cli", "launch", "--by", "kubernetes", "run", TASK, "--epochs", "0"]
    environment = {**os.environ, **told, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_a_state_of_slurm_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {
        "1": "JobId=1 JobState=RUNNING Restarts=2 ExitCode=0:0\n",
        "2": "JobId=2 JobState=FAILED Reason=NonZeroExitCode Restarts=0 ExitCode=3:0\n",
        "5": "JobId=5 JobState=PENDING Reason=Resources Restarts=0 ExitCode=0:0\n",
        "4": "JobId=4 JobState=SUSPENDED Reason=None Restarts=0 ExitCode=0:0\n",
        "3": "JobId=3 ArrayTaskId=2-9%4 JobState=PENDING\nJobId=5 ArrayTaskId=0 JobState=COMPLETED ExitCode=0:0\n"
        "JobId=6 ArrayTaskId=1 JobState=RUNNING Restarts=0\n",
    }
    monkeypatch.setattr(slurm, "_asked", lambda words: lines[words[-1]])
    assert slurm.states(list(lines)) == {
        "1": "running (attempt 3)",
        "2": "failed (failed, exit 3)",
        "5": "queued (Resources)",
        "4": "running (suspended)",
        "3": "1 finished, 8 queued, 1 running",
    }


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({}, "queued"),
        ({"active": 2}, "running"),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, "finished"),
        ({"conditions": [{"type": "Completed", "status": "True"}]}, "finished"),
        (
            {"conditions": [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}]},
            "failed (PodFailurePolicy)",
        ),
    ],
)
def test_a_state_of_kubernetes_in_words(status: dict[str, Any], word: str) -> None:
    assert kubernetes.state_of(status) == word


def test_kubectl_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By a kubectl of ours, which writes down what it is asked."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    status = json.dumps({"status": {"active": 1}})
    answer = f"[ $1 = get ] && [ -e {tmp_path}/there ] && echo '{status}'"
    program.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/asked\n{answer}\nexit 0\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SIXFOLD_JOBS", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    words = ["--to", "kubernetes", "--image", "x", "--mount", "pvc:runs=/runs", "--run-dir", "/runs/a", "--name", "a"]
    assert main(["submit", TASK, *words, "--namespace", "team"]) == 0
    assert capsys.readouterr().out == "team/job/a\n"
    (tmp_path / "there").touch()
    assert main(["jobs"]) == 0
    assert "running" in capsys.readouterr().out
    assert main(["submit", TASK, *words]) == 2
    assert "the job team/job/a, which is running" in capsys.readouterr().err
    assert main(["cancel", "a"]) == 0
    file = tmp_path / "jobs" / "a.job" / "job.yaml"
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0].startswith("get job a --namespace=team")
    assert asked[1:3] == [f"apply --dry-run=server -f {file}", f"apply -f {file}"]
    selected = "--selector=app.kubernetes.io/instance=a"
    assert asked[-1] == f"delete job,service,configmap {selected} --namespace=team --wait=false"
    assert main(["cancel", "a"]) == 2
    assert "team/job/a has ended already: cancelled." in capsys.readouterr().err
    (tmp_path / "asked").unlink()
    program.write_text(
        program.read_text().replace('"active": 1', '"conditions": [{"type": "Failed", "status": "True"}]')
    )
    assert main(["submit", TASK, *words, "--namespace", "team"]) == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[-2:] == ["delete job a --namespace=team", f"apply -f {file}"]  # or the old one would be taken for it
    for _ in range(2):
        assert main(["jobs"]) == 0
        assert "failed (no reason given)" in capsys.readouterr().out
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[-1].startswith("get job a")
    assert len([one for one in asked if one.startswith("get")]) == 2  # before submitting; then once, as it has ended


def test_without_a_scheduler_it_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SIXFOLD_JOBS", str(tmp_path / "state"))
    assert main(["submit", TASK, "--to", "slurm", "--run-dir", str(tmp_path / "a")]) == 2
    assert "sbatch: there is no such command" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())  # nothing is left of what was refused
    (tmp_path / "state").touch()
    assert main(["submit", TASK, "--to", "slurm", "--run-dir", str(tmp_path / "a")]) == 2
    assert (
        "state cannot be written, where jobs are remembered: name another with SIXFOLD_JOBS" in capsys.readouterr().err
    )
