"""Where a run writes and what it can reach: disk, caches, network, the cluster it is part of."""

import os
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines import workers
from pipelines.errors import ConfigError, DataError
from pipelines.sources.scan import cache_folder
from pipelines.sources.tfds import data_folder

HOSTS = ("huggingface.co", "www.kaggle.com", "storage.googleapis.com")
"""Where pretrained weights and data sets come from."""
REACH_SECONDS = 3.0
_WALK_SECONDS = 2.0


def disk() -> list[dict[str, Any]]:
    """Of each place that is written to: {"for", "folder", "free": bytes, "writable"}."""
    places = {"runs": Path("runs"), "caches": cache_folder(), "temporary files": Path(tempfile.gettempdir())}
    return [{"for": purpose, **_room(folder.absolute())} for purpose, folder in places.items()]


def caches() -> list[dict[str, Any]]:
    """What was downloaded or computed once and kept: {"of", "folder", "bytes", "counted": whether all of it was}; bytes
    are None where there is no such folder."""
    return [{"of": name, "folder": str(folder), **_size(folder)} for name, folder in _cache_folders()]


def network() -> dict[str, Any]:
    """Which hosts can be connected to: nothing is sent to them. {"online", "hosts": name -> bool, "note"}."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return {"online": False, "hosts": {}, "note": "HF_HUB_OFFLINE is set, so nothing was tried"}
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if proxy:
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        targets = {str(parts.hostname): (str(parts.hostname), _port(parts))}
        note = "HTTPS_PROXY is set: only the proxy was tried"
    else:
        targets, note = {host: (host, 443) for host in HOSTS}, None
    hosts = _reach(targets)
    return {"online": any(hosts.values()), "hosts": hosts, "note": note}


def cluster() -> dict[str, Any] | None:
    """What TF_CONFIG says: {"tasks": kind -> how many, "kind", "index", "error"}; None where it is not set."""
    try:
        found = workers.cluster()
    except ConfigError as error:
        return {"tasks": {}, "kind": None, "index": None, "error": str(error)}
    if found is None:
        return None
    tasks = {kind: len(hosts) for kind, hosts in found.members.items()}
    return {"tasks": tasks, "kind": found.kind, "index": found.index, "error": None}


def _room(folder: Path) -> dict[str, Any]:
    """Of the folder, or of the nearest one above it that is there."""
    # By os.path, to which what may not be looked at is not there.
    there = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    writable = os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)
    return {"folder": str(folder), "free": shutil.disk_usage(there).free, "writable": writable}


def _cache_folders() -> list[tuple[str, Path]]:
    """By whose rules a folder is found: Sixfold's, and those of the libraries that download."""
    found = [("sixfold", cache_folder())]
    try:
        home = Path.home()
        found.append(("tensorflow-datasets", data_folder()))
    except (RuntimeError, DataError):  # nobody's home
        return found
    shared = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    named = {
        "keras": os.environ.get("KERAS_HOME") or home / ".keras",
        "kaggle": os.environ.get("KAGGLEHUB_CACHE") or home / ".cache" / "kagglehub",
        "hugging face": os.environ.get("HF_HUB_CACHE")
        or Path(os.environ.get("HF_HOME") or shared / "huggingface") / "hub",
    }
    return found + [(name, Path(folder).expanduser()) for name, folder in named.items()]


def _size(folder: Path) -> dict[str, Any]:
    """Bytes of the files below a folder, as far as they can be counted in time."""
    if not os.path.isdir(folder):
        return {"bytes": None, "counted": True}
    total, deadline = 0, time.monotonic() + _WALK_SECONDS
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # removed meanwhile
                continue
        if time.monotonic() > deadline:
            return {"bytes": total, "counted": False}
    return {"bytes": total, "counted": True}


def _port(parts: Any) -> int:
    try:
        return parts.port or 443
    except ValueError:
        return 443


def _reach(targets: dict[str, tuple[str, int]]) -> dict[str, bool]:
    """Try to connect to all at once; what has not answered in time is out of reach."""
    reached = dict.fromkeys(targets, False)

    def connect(name: str, address: tuple[str, int]) -> None:
        try:
            socket.create_connection(address, timeout=REACH_SECONDS).close()
        except OSError:
            return
        reached[name] = True

    # A thread that the process does not wait for: looking a name up takes no timeout.
    threads = [threading.Thread(target=connect, args=target, daemon=True) for target in targets.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + REACH_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(reached)
