"""Which packages are here: against what Sixfold needs, what its extras bring, and the set it was tested with."""

import importlib.metadata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_OWN = "sixfold"


def tested() -> dict[str, str]:
    """The tested set: package -> version, from constraints.txt as it is installed."""
    lines = files("pipelines").joinpath("constraints.txt").read_text("utf-8").splitlines()
    pins = (line.partition(";")[0].partition("==") for line in lines if line and not line.startswith("#"))
    return {name.strip(): version.strip() for name, _, version in pins}


def versions() -> dict[str, Any]:
    """Packages of the tested set that are here: how many as tested, and which are of another version."""
    here = {name: (_version(name), version) for name, version in tested().items()}
    found = {name: pair for name, pair in here.items() if pair[0] is not None}
    differ = [
        {"package": name, "here": mine, "tested": theirs}
        for name, (mine, theirs) in found.items()
        if _read(str(mine)) != Version(theirs)
    ]
    return {"tested": len(here), "as_tested": len(found) - len(differ), "differ": differ}


def needed() -> list[dict[str, str]] | None:
    """What Sixfold cannot do without and is missing or too old; None where Sixfold is not installed as a package."""
    try:
        return _lacking(_OWN, "")
    except importlib.metadata.PackageNotFoundError:
        return None


def extras() -> dict[str, dict[str, Any]]:
    """Each extra: {"present": bool, "packages": its own, "lacking": which of them are missing or too old}."""
    try:
        names = importlib.metadata.metadata(_OWN).get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    return {name: _extra(name) for name in names}


def _extra(name: str) -> dict[str, Any]:
    lacking = _lacking(_OWN, name)
    packages = sorted({one.name for one in _requirements(_OWN, name)})
    return {"present": not lacking, "packages": packages, "lacking": [one["package"] for one in lacking]}


def _lacking(package: str, extra: str) -> list[dict[str, str]]:
    """Of what a package needs, or one of its extras brings, that which is missing or of a wrong version."""
    found: dict[str, str] = {}
    for one in _requirements(package, extra):
        version = _version(one.name)
        if version is None:
            found[one.name] = f"missing ({one.specifier or 'any version'} is needed)"
            continue
        if (known := _read(version)) is None or not one.specifier.contains(known, prereleases=True):
            found[one.name] = f"{version} is here, and {one.specifier} is needed"
        for further in one.extras:  # as of tensorflow[and-cuda]
            found |= {below["package"]: below["problem"] for below in _lacking(one.name, further)}
    return [{"package": name, "problem": problem} for name, problem in found.items()]


def _read(version: str) -> Version | None:
    """None of what is no version, as a package that somebody built may have."""
    try:
        return Version(version)
    except InvalidVersion:
        return None


def _requirements(package: str, extra: str) -> Iterator[Requirement]:
    """On this machine: those of the package itself, or those that an extra adds."""
    for line in importlib.metadata.requires(package) or []:
        one = Requirement(line)
        always = one.marker is None or one.marker.evaluate({"extra": ""})
        if always if not extra else not always and one.marker is not None and one.marker.evaluate({"extra": extra}):
            yield one


@cache
def _all() -> dict[str, str]:
    """Every installed package by its canonical name; of several, the one that is imported."""
    found: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        if one.name and one.version:  # a folder that was left behind has none
            found.setdefault(canonicalize_name(one.name), one.version)
    return found


def _version(package: str) -> str | None:
    return _all().get(canonicalize_name(package))
