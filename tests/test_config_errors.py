"""Wrong settings: each gets its one sentence, with where it stands, what was given and what is allowed."""

from pathlib import Path
from typing import Any

import pytest

from pipelines import registry
from pipelines.config import load_config
from pipelines.errors import ConfigError

TASK = "image-classification"

OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": "0"}, "--batch-size takes a whole number of at least 1, or auto, not 0."),
    ({"batch_size": "-4"}, "--batch-size takes a whole number of at least 1, or auto, not -4."),
    ({"batch_size": "many"}, "--batch-size takes a whole number of at least 1, or auto, not many."),
    ({"batch_size": "12.5"}, "--batch-size takes a whole number of at least 1, or auto, not 12.5."),
    ({"batch_size": ""}, "--batch-size takes a whole number of at least 1, or auto, not ''."),
    ({"batch_size": "none"}, "--batch-size takes a whole number of at least 1, or auto, not none."),
    ({"epochs": 1.5}, "--epochs takes a whole number of at least 1, not 1.5."),
    ({"epochs": None}, "--epochs takes a whole number of at least 1, not none."),
    ({"limit": "0"}, "--limit takes a whole number of at least 1, or none, not 0."),
    ({"seed": "-1"}, "--seed takes a whole number of at least 0 and below 2147483648, not -1."),
    ({"seed": "1e10"}, "--seed takes a whole number of at least 0 and below 2147483648, not 1e10."),
    ({"image_size": "4"}, "--image-size takes a whole number from 8 to 1024, or none, not 4."),
    ({"learning_rate": "0"}, "--learning-rate takes a number above 0, not 0."),
    ({"learning_rate": "0,001"}, "--learning-rate takes a number above 0, not 0,001."),
    ({"learning_rate": "nan"}, "--learning-rate takes a number above 0, not nan."),
    ({"learning_rate": "inf"}, "--learning-rate takes a number above 0, not inf."),
    ({"warmup": "1"}, "--warmup takes a number of at least 0 and below 1, not 1."),
    ({"average": "1.5"}, "--average takes a number above 0 and below 1, or none, not 1.5."),
    ({"optimizer": "adamm"}, "--optimizer takes one of sgd, adam, adamw, rmsprop, lion, not adamm: did you mean adam?"),
    ({"optimizer": "Adam"}, "--optimizer takes one of sgd, adam, adamw, rmsprop, lion, not Adam: did you mean adam?"),
    ({"device": "abacus"}, "--device takes one of auto, cpu, gpu, tpu, not abacus."),
    (
        {"require": "gpu:0"},
        "--require gpu:0: takes gpu or tpu, alone or with the number that this process must see, as in gpu:2.",
    ),
    (
        {"precision": "float16"},
        "--precision takes one of auto, float32, mixed_bfloat16, mixed_float16, not float16: did you mean float32?",
    ),
    (
        {"require": "gpu", "device": "cpu"},
        "require gpu contradicts device cpu: drop one of the two (require: --require, device: --device).",
    ),
    ({"monitor": "none"}, "--monitor takes one of loss, metric, not none."),
    ({"overwrite": "maybe"}, "--overwrite takes yes or no, not maybe."),
    ({"data": "  "}, "--data '  ': cannot be empty."),
    ({"data": ["a", "b"]}, "--data takes a text, not a,b."),
    ({"split": "0.8,0.2"}, "--split takes three numbers, as in 0.8,0.1,0.1, not 0.8,0.2."),
    ({"split": "most,some,few"}, "--split takes three numbers, as in 0.8,0.1,0.1, not most,some,few."),
    (
        {"split": "0.5,0.5,0.5"},
        "--split 0.5,0.5,0.5: shares must add up to 1 (these add up to 1.5); counts must be whole numbers.",
    ),
    ({"split": "1.1,-0.1,0"}, "--split 1.1,-0.1,0: shares and counts cannot be negative."),
    ({"split": "0,10,10"}, "--split 0,10,10: the first count, of training examples, must be at least 1."),
    ({"split": "0,0.5,0.5"}, "--split 0,0.5,0.5: the first share, of training examples, must be above 0."),
    ({"hidden": "128,wide"}, "--hidden takes whole numbers of at least 1, as in 128,64, not 128,wide."),
    (
        {"columns": "path"},
        "--columns path: write name=column pairs, as in image=path label=class; 'path' is none.",
    ),
    (
        {"columns": ("image=", "label=class")},
        "--columns image=,label=class: write name=column pairs, as in image=path label=class; 'image=' is none.",
    ),
    ({"columns": "image=a image=b"}, "--columns 'image=a image=b': 'image' is given twice: keep one."),
    ({"batch_sise": "3"}, "unknown option --batch-sise: did you mean --batch-size?"),
    ({"lr": "3"}, "unknown option --lr; --help lists those there are."),
    (
        {"batch_size": 10, "accumulate": "3"},
        "batch_size 10 is not a multiple of accumulate 3: choose one that is "
        "(batch_size: --batch-size, accumulate: --accumulate).",
    ),
    (
        {"batch_size": 0, "epochs": "x", "lr": 1},
        "3 settings are wrong:\n"
        "  unknown option --lr; --help lists those there are.\n"
        "  --batch-size takes a whole number of at least 1, or auto, not 0.\n"
        "  --epochs takes a whole number of at least 1, not x.",
    ),
]

FILES: list[tuple[str, str]] = [
    ("epochs: 3\nbatch_size: 0\n", "run.yaml line 2: batch_size takes a whole number of at least 1, or auto, not 0."),
    ("# a\n\nepochs: two\n", "run.yaml line 3: epochs takes a whole number of at least 1, not two."),
    ("epochs:\n", "run.yaml line 1: epochs takes a whole number of at least 1, not ''."),
    ("epochs: null\n", "run.yaml line 1: epochs takes a whole number of at least 1, not null."),
    ("epochs: yes\n", "run.yaml line 1: epochs takes a whole number of at least 1, not yes."),
    ("epochs: [1, 2]\n", "run.yaml line 1: epochs takes a whole number of at least 1, not 1,2."),
    (
        "epochs:\n  first: 1\n",
        "run.yaml line 1: epochs takes a whole number of at least 1, not a mapping: settings are flat.",
    ),
    ("epochs: [[1]]\n", "run.yaml line 1: epochs is nested: settings are flat, one `field: value` a line."),
    ("jit: maybe\n", "run.yaml line 1: jit takes one of auto, on, off, or none, not maybe."),
    ("deterministic: 2\n", "run.yaml line 1: deterministic takes yes or no, not 2."),
    ("split: [0.8, 0.1]\n", "run.yaml line 1: split takes three numbers, as in 0.8,0.1,0.1, not 0.8,0.1."),
    (
        "split: [0.8, 0.1, 0.2]\n",
        "run.yaml line 1: split 0.8,0.1,0.2: shares must add up to 1 (these add up to 1.1); "
        "counts must be whole numbers.",
    ),
    ("batchsize: 3\n", "run.yaml line 1: unknown setting 'batchsize': did you mean batch_size?"),
    ("batch-size: 3\n", "run.yaml line 1: unknown setting 'batch-size': did you mean batch_size?"),
    ("gpu: 3\n", "run.yaml line 1: unknown setting 'gpu'; `sixfold config show TASK` lists those there are."),
    (
        "training:\n  epochs: 3\n",
        "run.yaml line 1: 'training' is a group, and settings are flat: "
        "write its fields without it, each in its own line.",
    ),
    ("epochs: 3\nepochs: 4\n", "run.yaml line 2: epochs is set twice, first in line 1: keep one."),
    ("task: translation\n", "run.yaml line 1: this file is for the task translation, not image-classification."),
    ("- epochs\n- 3\n", "run.yaml line 1: settings are lines of `field: value`, and this is something else."),
    ("epochs\n", "run.yaml line 1: settings are lines of `field: value`, and this is something else."),
    ("? [a, b]\n: 3\n", "run.yaml line 1: a setting's name is one word, and this is a list or mapping."),
    ("epochs: 3\n\tseed: 1\n", "run.yaml line 2: not valid YAML: found character '\\t' that cannot start any token."),
    ("data: a: b\n", "run.yaml line 1: not valid YAML: mapping values are not allowed here."),
    ("epochs: 3\nseed: [1\n", "run.yaml line 3: not valid YAML: expected ',' or ']', but got '<stream end>'."),
    ("epochs: 3\n---\nepochs: 4\n", "run.yaml line 2: not valid YAML: but found another document."),
    ("epochs: 3\ndata: a\x00b\n", "run.yaml line 2: not valid YAML: it holds a control character."),
    (
        "data: !!python/object/apply:os.system [ls]\n",
        "run.yaml line 1: data carries the tag !!python/object/apply:os.system: write the value alone.",
    ),
    ("epochs: !mine 3\n", "run.yaml line 1: epochs carries the tag !mine: write the value alone."),
    ("[" * 5000, "run.yaml: nested too deeply; settings are lines of `field: value`."),
    (
        "batch_size: 30\naccumulate: 4\n",
        "batch_size 30 is not a multiple of accumulate 4: choose one that is "
        "(batch_size: run.yaml line 1, accumulate: run.yaml line 2).",
    ),
    (
        "epochs: 0\nepoch: 1\nlimit: x\n",
        "3 settings are wrong:\n"
        "  run.yaml line 2: unknown setting 'epoch': did you mean epochs?\n"
        "  run.yaml line 1: epochs takes a whole number of at least 1, not 0.\n"
        "  run.yaml line 3: limit takes a whole number of at least 1, or none, not x.",
    ),
]


def sentence(**sources: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(TASK, **sources)
    return str(caught.value)


@pytest.mark.parametrize(("options", "expected"), OPTIONS, ids=lambda value: str(value)[:40])
def test_option(options: dict[str, Any], expected: str) -> None:
    assert sentence(options=options, typed=True) == expected


@pytest.mark.parametrize(("text", "expected"), FILES, ids=lambda value: ascii(value)[:40])
def test_file(text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(text, encoding="utf-8")
    assert sentence(file="run.yaml") == expected


def test_the_tables_are_long_enough() -> None:
    assert len(OPTIONS) + len(FILES) >= 40


def test_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("photo.jpg").write_bytes(b"a\nb\xff\xd8")
    assert sentence(file="run.yml") == "run.yml: there is no such file; --config takes a YAML file of settings."
    assert sentence(file="folder") == "folder is a folder; --config takes a YAML file, such as folder/run.yaml."
    assert sentence(file="photo.jpg") == "photo.jpg line 2: this is not UTF-8 text; --config takes a YAML file."


def test_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "folder", lambda task: tmp_path)
    assert sentence(recipe="small") == "unknown recipe 'small' of image-classification: the task has none."
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "small.yaml").write_text("# a\n# b\nepochs: 0\n", encoding="utf-8")
    assert sentence(recipe="smal") == "unknown recipe 'smal' of image-classification: did you mean small?"
    assert sentence(recipe="xyz") == "unknown recipe 'xyz' of image-classification: there are: small."
    assert sentence(recipe="small.yaml") == (
        "--recipe takes a name, not the file 'small.yaml': give a file with --config."
    )
    assert sentence(recipe="small") == "recipe small line 3: epochs takes a whole number of at least 1, not 0."


def test_unknown_task() -> None:
    with pytest.raises(ConfigError, match=r"^unknown task 'image_clasification': did you mean image-classification\?$"):
        load_config("image_clasification")


def test_from_python_a_setting_has_its_own_name() -> None:
    assert sentence(options={"epoch": 3}) == "unknown setting 'epoch': did you mean epochs?"
    assert sentence(options={"batch_size": 0}) == "batch_size takes a whole number of at least 1, or auto, not 0."
    assert sentence(options={"batch_size": 10, "accumulate": 3}).endswith(
        "(batch_size: argument, accumulate: argument)."
    )


def test_nested_aliases_are_refused_and_never_written_out(tmp_path: Path) -> None:
    levels = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 10)]
    file = tmp_path / "bomb.yaml"
    file.write_text("\n".join(["a0: &a0 [x, x]", *levels, "epochs: *a9", "training: {a: *a9}"]), encoding="utf-8")
    text = sentence(file=file)
    assert "line 11: epochs is nested" in text
    assert "line 12: 'training' is a group" in text
    assert len(text) < 5000


def test_of_many_faults_the_first_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "many.yaml"
    file.write_text("".join(f"key{row}: 1\n" for row in range(3000)), encoding="utf-8")
    lines = sentence(file=file).splitlines()
    assert lines[0] == "3,000 settings are wrong:"
    assert lines[20] == f"  {file} line 20: unknown setting 'key19'; `sixfold config show TASK` lists those there are."
    assert lines[21:] == ["  and 2,980 more"]


def test_a_folder_that_no_file_system_can_name() -> None:
    assert sentence(options={"run_dir": "a\0b"}) == "run_dir 'a\\x00b': cannot hold a zero byte."
    assert sentence(options={"run_dir": f"runs/{'ö' * 150}"}).endswith(
        ": a name in it has more than 255 bytes: choose a shorter one."
    )
