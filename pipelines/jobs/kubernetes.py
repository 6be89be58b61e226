"""Kubernetes: a job as an Indexed Job, or a JobSet, with the run file in a ConfigMap; and what kubectl says.

Exit 75 and a node that goes away start a pod again and count as nothing; an error of the run, which would come again,
fails the job at once; anything else, as a kill for memory, counts among the retries.
"""

import json
import posixpath
import re
import subprocess
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from pipelines.clusters import ADDRESSES
from pipelines.errors import ConfigError
from pipelines.jobs.spec import IN_CONTAINER, Job, shard_words, shell

FILE = "job.yaml"
_FINAL = [1, 2, 3, 4, 5, 78]
"""Exit codes of a run that would end in the same way again."""
_AGAIN = [75]
_PORT = 2222
_MAIN = "sixfold"
_GROUP = "workers"
"""Of a JobSet: its one replicated job."""
_BUCKETS = "gcsfuse.csi.storage.gke.io"
_LABEL = "app.kubernetes.io/instance"
"""On all that belongs to a job: its name."""


def check(job: Job) -> None:
    """Raise ConfigError where this cannot be a job of Kubernetes'."""
    settings = job.settings
    if settings.image is None:
        raise ConfigError("--image: a pod is made from an image; name one that has sixfold (see Dockerfile).")
    if settings.name is not None and settings.name[0].isdigit():
        raise ConfigError(f"--name {settings.name}: on Kubernetes it begins with a letter, as it is a host name too.")
    for name, where in settings.secrets.items():
        if where.count("/") != 1 or where.startswith("/") or where.endswith("/"):
            raise ConfigError(f"--secret {name}={where}: on Kubernetes it is SECRET/KEY, as in hub/token.")
    for source, path, fixed in settings.mounts:
        if not source.startswith(("pvc:", "gs://")):
            raise ConfigError(f"--mount {source}={path}: on Kubernetes it is pvc:CLAIM=/PATH or gs://BUCKET=/PATH:ro.")
        if source.startswith("gs://") and not fixed:
            raise ConfigError(f"--mount {source}={path}: files in a bucket cannot be locked or renamed; add :ro.")
    kept = [path for source, path, fixed in settings.mounts if not fixed]
    output = PurePosixPath(posixpath.normpath(job.output))
    if not any(output.is_relative_to(path) for path in kept):
        where = f"{kept[0]}/NAME" if kept else "/runs/NAME and --mount pvc:CLAIM=/runs"
        option = "--output" if job.shards else "--run-dir"
        raise ConfigError(f"{option} {job.output} lies on no mount and would be lost with its pod: give it as {where}.")


def render(job: Job) -> str:
    """The manifests."""
    settings = job.settings
    parts = [_config_map(job)] if job.run_file is not None else []
    if settings.kind == "jobset":
        parts.append(_job_set(job))
    else:
        # A headless service, by which the workers find each other before any of them is ready; a JobSet makes its own.
        parts += [_service(job)] if settings.all_workers > 1 else []
        parts.append({**_about(job, "batch/v1", "Job"), "spec": _indexed_job(job)})
    head = f"# {job.name}: written by sixfold submit. kubectl apply -f this file; kubectl delete -f it ends the job.\n"
    return head + "---\n".join(yaml.dump(part, Dumper=_Dumper, sort_keys=False, width=110) for part in parts)


def _about(job: Job, version: str, kind: str, name: str | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name or job.name}
    if job.settings.namespace:
        metadata["namespace"] = job.settings.namespace
    metadata["labels"] = {"app.kubernetes.io/name": "sixfold", _LABEL: job.name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _config_map(job: Job) -> dict[str, Any]:
    return {**_about(job, "v1", "ConfigMap"), "data": {"run.yaml": job.run_file}}


def _service(job: Job) -> dict[str, Any]:
    ports = [{"name": "workers", "port": _PORT}]
    selector = {"batch.kubernetes.io/job-name": job.name}
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector, "ports": ports}
    return {**_about(job, "v1", "Service"), "spec": spec}


def _indexed_job(job: Job) -> dict[str, Any]:
    settings = job.settings
    together = settings.kind == "jobset"
    again = "FailJob" if together else "Ignore"
    return {
        "completionMode": "Indexed",
        "completions": job.shards or settings.all_workers,
        "parallelism": min(settings.at_once or job.shards, job.shards) or settings.all_workers,
        # Of a JobSet it is the set that is started again.
        "backoffLimit": 0 if together else settings.retries,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": _codes(_FINAL)},
                {"action": again, "onExitCodes": _codes(_AGAIN)},
                {"action": again, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {"metadata": _pod_metadata(job), "spec": _pod(job)},
    }


def _codes(values: list[int]) -> dict[str, Any]:
    return {"containerName": _MAIN, "operator": "In", "values": values}


def _job_set(job: Job) -> dict[str, Any]:
    """A worker that ends before its time fails its job, and with it all are started again, unless it was an error. By
    which rule of the job's that was, says the end of the message."""
    policy = {"onJobFailureReasons": ["PodFailurePolicy"]}
    others = {"onJobFailureMessagePatterns": ["rule at index [12]$"]}
    rules = [
        {"name": "again", "action": "RestartJobSetAndIgnoreMaxRestarts", **policy, **others},
        {"name": "final", "action": "FailJobSet", **policy},
    ]
    spec = {
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
        # Blocking: a new worker must not find the run folder in use by an old one.
        "failurePolicy": {"maxRestarts": job.settings.retries, "restartStrategy": "BlockingRecreate", "rules": rules},
        "replicatedJobs": [{"name": _GROUP, "replicas": 1, "template": {"spec": _indexed_job(job)}}],
    }
    return {**_about(job, "jobset.x-k8s.io/v1alpha2", "JobSet"), "spec": spec}


def _pod_metadata(job: Job) -> dict[str, Any]:
    metadata: dict[str, Any] = {"labels": {_LABEL: job.name}}
    if any(source.startswith("gs://") for source, _, _ in job.settings.mounts):
        metadata["annotations"] = {"gke-gcsfuse/volumes": "true"}
    return metadata


def _pod(job: Job) -> dict[str, Any]:
    settings = job.settings
    pod: dict[str, Any] = {"restartPolicy": "Never", "terminationGracePeriodSeconds": settings.grace}
    if settings.minutes:
        # The pod ends so with SIGTERM first, and is replaced: the rule for 75.
        pod["activeDeadlineSeconds"] = settings.minutes * 60
    if settings.all_workers > 1 and settings.kind == "job":
        pod["subdomain"] = job.name
    container: dict[str, Any] = {"name": _MAIN, "image": settings.image, **_command(job), "env": _variables(job)}
    if resources := _resources(job):
        container["resources"] = resources
    volumes = list(_volumes(job))
    container["volumeMounts"] = [mount for _, mount in volumes]
    # The user of our image; a volume's group is made theirs.
    pod |= {"automountServiceAccountToken": False, "securityContext": {"fsGroup": 1000}}
    return {**pod, "containers": [container], "volumes": list({one["name"]: one for one, _ in volumes}.values())}


def _command(job: Job) -> dict[str, Any]:
    settings = job.settings
    by = ("launch", "--by", "kubernetes") if settings.all_workers > 1 else ()
    words = [*job.program, *by, *job.words]
    if not job.shards and not settings.setup:
        return {"command": [_literal(word) for word in words]}
    last = shard_words(job, "$JOB_COMPLETION_INDEX") if job.shards else shell(words)
    # exec: the signals are for what computes.
    return {"command": ["bash", "-euc", _literal("\n".join([*settings.setup, f"exec {last}"]))]}


def _literal(text: str) -> str:
    """Kubernetes itself would put a variable's value for $(NAME)."""
    return re.sub(r"\$(?=[$(])", "$$", text)


def _variables(job: Job) -> list[dict[str, Any]]:
    environment = job.settings.environment
    found: list[dict[str, Any]] = [{"name": name, "value": _literal(text)} for name, text in environment.items()]
    for name, where in job.settings.secrets.items():
        secret, _, key = where.partition("/")
        found.append({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    if job.settings.all_workers > 1:
        found.append({"name": ADDRESSES, "value": ",".join(addresses(job))})
    return found


def addresses(job: Job) -> list[str]:
    """host:port of each worker: the names that an Indexed Job and a JobSet give their pods."""
    pod = f"{job.name}-{_GROUP}-0" if job.settings.kind == "jobset" else job.name
    return [f"{pod}-{index}.{job.name}:{_PORT}" for index in range(job.settings.all_workers)]


def _resources(job: Job) -> dict[str, Any]:
    settings = job.settings
    asked: dict[str, Any] = {"cpu": str(settings.cpus)} if settings.cpus else {}
    if settings.memory:
        asked["memory"] = f"{settings.memory}i"
    limits = {name: value for name, value in asked.items() if name == "memory"}
    if settings.gpus:
        limits["nvidia.com/gpu"] = str(settings.gpus)
    return {name: value for name, value in (("requests", asked), ("limits", limits)) if value}


def _volumes(job: Job) -> Any:
    """(volume, where it is mounted) of each."""
    if job.run_file is not None:
        folder = str(PurePosixPath(IN_CONTAINER).parent)
        volume = {"name": "run-file", "configMap": {"name": job.name}}
        yield volume, {"name": "run-file", "mountPath": folder, "readOnly": True}
    names: dict[str, str] = {}
    for source, path, fixed in job.settings.mounts:
        name = names.setdefault(source, f"mount-{len(names)}")
        if source.startswith("pvc:"):
            volume = {"name": name, "persistentVolumeClaim": {"claimName": source.removeprefix("pvc:")}}
        else:
            about = {"driver": _BUCKETS, "readOnly": True}
            volume = {"name": name, "csi": {**about, "volumeAttributes": {"bucketName": source.removeprefix("gs://")}}}
        yield volume, {"name": name, "mountPath": path, **({"readOnly": True} if fixed else {})}


class _Dumper(yaml.SafeDumper):
    """A text of several lines as such a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def submit(job: Job) -> str:
    """Apply the manifests, which lie in the job's folder, once the server has found nothing wrong with them."""
    file, number = str(job.folder / FILE), _id(job.settings.namespace, job.settings.kind, job.name)
    known = states([number]).get(number)
    if known in ("queued", "running"):
        raise ConfigError(f"{number} is {known} already: cancel it first, or choose another --name.")
    _asked(["apply", "--dry-run=server", "-f", file])
    if known:
        _asked(["delete", *_target(number)])  # one that has ended would be taken for this one
    _asked(["apply", "-f", file])
    return number


def _id(namespace: str | None, kind: str, name: str) -> str:
    return "/".join(filter(None, [namespace, kind, name]))


def _target(job: str) -> list[str]:
    *namespace, kind, name = job.split("/")
    return [kind, name, *(f"--namespace={one}" for one in namespace)]


def states(ids: Sequence[str]) -> dict[str, str]:
    """What the cluster knows of these jobs."""
    found = {}
    for one in ids:
        answer = _asked(["get", *_target(one), "--ignore-not-found", "--output=json"])
        if answer.strip():
            found[one] = state_of(json.loads(answer).get("status", {}))
    return found


def state_of(status: dict[str, Any]) -> str:
    """In a word, from the status of a Job or a JobSet."""
    true = {one["type"]: one for one in status.get("conditions", []) if one.get("status") == "True"}
    if "Complete" in true or "Completed" in true:
        return "finished"
    if "Failed" in true:
        return f"failed ({true['Failed'].get('reason', 'no reason given')})"
    if "Suspended" in true:
        return "queued"
    return "running" if status.get("active") or status.get("replicatedJobsStatus") else "queued"


def log_command(job: str, follow: bool) -> list[str]:
    """What prints the logs of its pods."""
    *namespace, _, name = job.split("/")
    words = ["kubectl", "logs", f"--selector={_LABEL}={name}", "--prefix", "--tail=-1"]
    # Without that number it follows no more than five pods.
    more = ["--follow", "--max-log-requests=1000"] if follow else []
    return [*words, *more, *(f"--namespace={one}" for one in namespace)]


def cancel(job: str) -> None:
    """Delete it, with its run file and its service; its pods get SIGTERM, and save."""
    kind, name, *namespace = _target(job)
    _asked(["delete", f"{kind},service,configmap", f"--selector={_LABEL}={name}", *namespace, "--wait=false"])


def _asked(words: list[str]) -> str:
    try:
        done = subprocess.run(["kubectl", *words], capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError:
        raise ConfigError(
            "kubectl: there is no such command: install it, or use --dry-run and apply the text."
        ) from None
    except subprocess.TimeoutExpired:
        raise ConfigError("kubectl does not answer within two minutes: is the cluster up?") from None
    if done.returncode:
        raise ConfigError(f"kubectl {words[0]} refuses: {' '.join(done.stderr.split()) or done.returncode}")
    return done.stdout
