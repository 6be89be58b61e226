"""What is said of the packages that are here: with an installation made up."""

from pathlib import Path

import pytest

from pipelines.doctor import packages

ROOT = Path(__file__).resolve().parent.parent


def test_the_tested_set_is_that_of_the_repository() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert packages.tested() == dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


REQUIRED = {
    "sixfold": ["here>=2", "old>=3", "gone>=1", "elsewhere; sys_platform == 'plan9'", "lib[more]; extra == 'fast'"],
    "lib": ["deep>=1; extra == 'more'", "other; extra == 'less'"],
}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is installed, by package; of the tested set here and old are known."""
    found = {"here": "2.1", "old": "2.9", "lib": "1.0"}
    monkeypatch.setattr(packages, "_version", found.get)
    monkeypatch.setattr(packages.importlib.metadata, "requires", REQUIRED.get)
    monkeypatch.setattr(packages, "tested", lambda: {"here": "2.1.0", "old": "3.0", "unused": "1"})
    return found


def test_what_is_missing_too_old_or_of_another_version(installed: dict[str, str]) -> None:
    assert packages.needed() == [
        {"package": "old", "problem": "2.9 is here, and >=3 is needed"},
        {"package": "gone", "problem": "missing (>=1 is needed)"},
    ]
    assert packages.versions() == {
        "tested": 3,
        "as_tested": 1,
        "differ": [{"package": "old", "here": "2.9", "tested": "3.0"}],
    }


def test_a_version_that_is_none_is_another(installed: dict[str, str]) -> None:
    """As of a package that somebody built."""
    installed["here"] = "my-2.1"
    assert {"package": "here", "problem": "my-2.1 is here, and >=2 is needed"} in (packages.needed() or [])
    assert packages.versions()["differ"][0] == {"package": "here", "here": "my-2.1", "tested": "2.1.0"}


def test_an_extra_is_present_with_all_that_its_packages_bring(installed: dict[str, str]) -> None:
    assert packages._extra("fast") == {"present": False, "packages": ["lib"], "lacking": ["deep"]}
    installed["deep"] = "1.2"
    assert packages._extra("fast")["present"]
