"""Translation from a finished run: with its pieces, or with others of which some are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import run
from pipelines.errors import ConfigError
from pipelines.runs import Run
from tasks.translation.config import Config
from tasks.translation.implied import imply

pytestmark = pytest.mark.usefixtures("unserved")

SMALL: dict[str, Any] = {
    **{"layers": 1, "width": 16, "heads": 2, "epochs": 1, "max_tokens": 24, "beams": 1, "average": None},
    **{"batch_size": 16, "split": "0.7 0.15 0.15"},
}
PAIRS = {
    "numbers": (["one", "two", "three", "four", "five"], ["eins", "zwei", "drei", "vier", "fünf"]),
    "things": (["one", "stone", "house", "mouse", "vase"], ["eins", "Stein", "Haus", "Maus", "Vase"]),
}


def translator(folder: Path, name: str, **more: Any) -> dict[str, Any]:
    """What the manifest says of the origin of a short run."""
    sources, targets = PAIRS[name]
    rows = [(a, b) for a in range(5) for b in range(5)]
    lines = [f"{sources[a]} {sources[b]}\t{targets[a]} {targets[b]}" for a, b in rows]
    (folder.parent / f"{name}.tsv").write_text("\n".join(["en\tde", *lines, ""]), "utf-8")
    languages = {"source_lang": "en", "target_lang": "de"}
    run("translation", data=str(folder.parent / f"{name}.tsv"), run_dir=str(folder), **languages, **SMALL, **more)
    return dict(Run(folder).manifest().get("pretrained") or {})


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "before"
    translator(folder, "numbers", vocabulary_size=300)
    return folder


def pieces_of(folder: Path) -> list[str]:
    return list(json.loads((folder / "model" / "pieces.json").read_text("utf-8")))


def test_its_pieces_are_kept(before: Path, tmp_path: Path) -> None:
    origin = translator(tmp_path / "after", "things", pretrained=str(before))
    assert (origin["kind"], origin["resized"], origin["new"]) == ("run", [], [])
    assert pieces_of(tmp_path / "after") == pieces_of(before)


def test_rows_of_known_pieces_are_taken_over_and_the_new_ones_named(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = translator(tmp_path / "after", "things", pretrained=str(before), keep_pieces=False)
    ours, theirs = pieces_of(tmp_path / "after"), set(pieces_of(before))
    new = [piece for piece in ours if piece not in theirs]
    assert 0 < len(new) < len(ours)
    note = f"pieces/embeddings ({len(ours) - len(new)} of {len(ours)} pieces known, new: {', '.join(new[:5])}, …)"
    assert (origin["resized"], origin["new"]) == ([note], [])
    assert note in capsys.readouterr().err


def test_pieces_that_contradict_the_run_are_refused(before: Path) -> None:
    with pytest.raises(ConfigError, match="vocabulary_size 500: the run .* has 300.*: leave vocabulary_size out or"):
        imply(Config(pretrained=str(before), vocabulary_size=500))
    assert imply(Config(pretrained=str(before), vocabulary_size=500, keep_pieces=False)).vocabulary_size == 500
    with pytest.raises(ConfigError, match="joint False: the run .* has True"):
        imply(Config(pretrained=str(before), joint=False, keep_pieces=False))
    with pytest.raises(ConfigError, match="no-keep-pieces"):
        imply(Config(keep_pieces=False))
