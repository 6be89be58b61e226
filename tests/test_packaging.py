"""The wheel: what is in it, and that it works where the repository is not."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network from the build backend at hand."""
    folder = tmp_path_factory.mktemp("dist")
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    check_output(sys.executable, *build, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment that holds the wheel and sees our dependencies, but not the repository.

    Installing the dependencies anew would need the network. A .pth file lends them from here instead; the .pth files
    among them, such as that of an editable install, are not followed.
    """
    folder = tmp_path_factory.mktemp("bare")
    check_output(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder)
    python = str(folder / "bin" / "python")
    pip = ["-m", "pip", "--disable-pip-version-check", "--python", python]
    check_output(sys.executable, *pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel), cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    lent = Path(numpy.__file__).parent.parent
    (site / "lent.pth").write_text(f"{lent}\n", encoding="utf-8")
    return folder / "bin"


def check_output(*command: str, cwd: Path) -> str:
    """What a command prints; a failure shows what it printed, too."""
    ours = ("PYTHONPATH", "PIP_REQUIRE_VIRTUALENV")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert top == {"pipelines", "tasks", f"sixfold-{version()}.dist-info"}


def test_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    """Recipes, templates, READMEs and py.typed are not Python and easily left out."""
    files = [path for package in ("pipelines", "tasks") for path in (ROOT / package).rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert {"pipelines/py.typed", "tasks/py.typed"} <= expected
    assert expected - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_wheel_carries_its_licence_and_script(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = f"sixfold-{version()}.dist-info"
    assert b"Apache License" in archive.read(f"{info}/licenses/LICENSE")
    assert b"sixfold = pipelines.cli:entry" in archive.read(f"{info}/entry_points.txt")


def version() -> str:
    """The version as the source says it, read without importing."""
    source = (ROOT / "pipelines" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"', source, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [("--help", "predict"), ("tasks", "image-classification"), ("run image-classification --help", "--batch-size")],
)
def test_command_works_where_only_the_wheel_is(bare: Path, tmp_path: Path, arguments: str, shown: str) -> None:
    assert shown in check_output(str(bare / "sixfold"), *arguments.split(), cwd=tmp_path)


def test_recipes_are_found_where_only_the_wheel_is(bare: Path, tmp_path: Path) -> None:
    code = "from pipelines import registry; print(registry.folder('image-classification'))"
    folder = Path(check_output(str(bare / "python"), "-c", code, cwd=tmp_path).strip())
    assert bare.parent in folder.parents
    recipes = {path.name for path in (ROOT / "tasks/image_classification/recipes").glob("*.yaml")}
    assert {path.name for path in (folder / "recipes").glob("*.yaml")} == recipes


def test_the_tested_set_is_found_where_only_the_wheel_is(bare: Path, tmp_path: Path) -> None:
    """In the repository it is a link to constraints.txt."""
    code = "from pipelines.doctor.packages import tested; print(tested()['keras'])"
    (pin,) = re.findall(r"^keras==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert check_output(str(bare / "python"), "-c", code, cwd=tmp_path).strip() == pin


def test_what_is_imported_is_declared() -> None:
    """The lent dependencies above would hide a missing one."""
    declared = {required(line) for line in requirements()}
    distributions = packages_distributions()
    for name in sorted(third_party()):
        owners = {normalised(owner) for owner in distributions.get(name, [name])}
        assert owners & declared, f"{name} is imported but no dependency of pyproject.toml brings it"


def requirements() -> list[str]:
    """Every declared requirement, those of the extras for users too."""
    extras = PROJECT["optional-dependencies"]
    return [*PROJECT["dependencies"], *(line for extra in extras if extra != "dev" for line in extras[extra])]


def required(requirement: str) -> str:
    """The distribution that a requirement such as 'jax[cpu]>=0.10' asks for."""
    return normalised(re.split(r"[\[>=<;! ]", requirement)[0])


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def third_party() -> set[str]:
    """Top-level names imported anywhere in the packages, in functions too, that are neither ours nor Python's."""
    names: set[str] = set()
    every = (path for package in ("pipelines", "tasks") for path in (ROOT / package).rglob("*.py"))
    # What writes the samples down is for who changes them.
    for path in (path for path in every if not path.name.startswith("make_")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"pipelines", "tasks"}


def test_constraints_pin_everything_once_and_name_no_index() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[^\s;@/]+( ; .+)?", line)] == []
    names = [normalised(line.split("==")[0]) for line in pins]
    assert len(names) == len(set(names))
    wanted = [*requirements(), *PROJECT["optional-dependencies"]["dev"]]
    # Beam needs older versions of some of these, as the file says.
    assert {required(line) for line in wanted} - set(names) == {"apache-beam"}
