"""Translations from every source to splits: what is read, refused, counted and found again."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import DataError
from tasks.translation.config import Config
from tasks.translation.data import check_data, inputs, load_data, load_test, make_sample, references
from tasks.translation.data.sample import PATH, sample

ROOT = Path(__file__).resolve().parent.parent
MULTI30K = ROOT.parent / "shared" / "data" / "multi30k"
PAIRS = [(f"the {thing} number {n}", f"das {thing} Nummer {n}") for thing in ("house", "tree") for n in range(15)]


def aligned(folder: Path, name: str = "train", pairs: Sequence[tuple[str, str]] = PAIRS, end: str = "\n") -> Path:
    folder.mkdir(exist_ok=True)
    for language, side in (("en", 0), ("de", 1)):
        (folder / f"{name}.{language}").write_bytes("".join(pair[side] + end for pair in pairs).encode())
    return folder


def config(source: Path | str, **settings: Any) -> Config:
    return Config(data=str(source), **{"source_lang": "en", "target_lang": "de", **settings})


def pairs_of(data: Any, split: str) -> list[tuple[str, str]]:
    store = data.splits[split]
    every = np.arange(len(store))
    return list(zip(store.sources(every), store.targets(every), strict=True))


def all_pairs(data: Any) -> list[tuple[str, str]]:
    return sorted(pair for split in data.splits for pair in pairs_of(data, split))


def kinds(found: Any) -> dict[str, str]:
    return {problem.kind: f"{problem.where}: {problem.message}" for problem in found.problems}


def test_aligned_files_are_cut_into_splits(tmp_path: Path) -> None:
    data = load_data(config(aligned(tmp_path / "c", "corpus")))
    assert all_pairs(data) == sorted(PAIRS)
    assert data.summary["counts"] == {"train": 24, "valid": 3, "test": 3}
    assert data.assets == {"languages": {"source": "en", "target": "de"}}
    assert "within each" not in data.protocol
    store = data.splits["train"]
    place = PAIRS.index(pairs_of(data, "train")[5]) + 1
    assert store.ids(np.array([5])) == [f"{tmp_path / 'c' / 'corpus.en'} line {place}"]
    found = store.fetch(np.array([5, 0]))
    assert [text.decode() for text in found["text"]] == [pairs_of(data, "train")[row][0] for row in (5, 0)]


def test_splits_come_from_names_of_files(tmp_path: Path) -> None:
    aligned(tmp_path, "train")
    aligned(tmp_path, "val", PAIRS[:4])
    aligned(tmp_path, "test_2016_flickr", [("a b", "x y")])
    aligned(tmp_path, "test_2017_coco", [("c d", "z y")])
    (tmp_path / "README.md").write_text("no text of any language")
    data = load_data(config(tmp_path))
    assert data.summary["counts"] == {"train": 30, "valid": 4, "test": 1}
    assert pairs_of(data, "test") == [("a b", "x y")]
    warned = "\n".join(data.summary["warnings"])
    assert "several of the test split: test_2016_flickr is read, not test_2017_coco" in warned
    assert "another is named with --test" in warned
    assert "README.md" in warned
    further = load_data(config(tmp_path, test=str(tmp_path / "test_2017_coco")))
    assert pairs_of(further, "test") == [("c d", "z y")]
    assert pairs_of(load_data(config(tmp_path, test=str(tmp_path / "test_2017_coco.de"))), "test") == [("c d", "z y")]


def test_compressed_files_and_turned_languages(tmp_path: Path) -> None:
    aligned(tmp_path)
    plain = load_data(config(tmp_path))
    for name in ("train.en", "train.de"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    with pytest.raises(DataError, match=r"train\.de and train\.de\.gz, the same twice: keep one"):
        load_data(config(tmp_path))
    for name in ("train.en", "train.de"):
        (tmp_path / name).unlink()
    packed = load_data(config(tmp_path))
    assert packed.fingerprint == plain.fingerprint
    turned = load_data(config(tmp_path, source_lang="de", target_lang=None))
    assert turned.assets["languages"] == {"source": "de", "target": "en"}
    assert all_pairs(turned) == sorted((target, source) for source, target in PAIRS)
    assert turned.fingerprint != plain.fingerprint


def test_languages_that_nobody_named(tmp_path: Path) -> None:
    aligned(tmp_path)
    with pytest.raises(DataError) as refused:
        load_data(Config(data=str(tmp_path)))
    assert "holds de and en" in str(refused.value)
    assert "--source-lang de --target-lang en, or the other way round" in str(refused.value)
    with pytest.raises(DataError, match="holds de and en, not fr: give another --source-lang"):
        load_data(config(tmp_path, source_lang="fr"))
    with pytest.raises(DataError, match="en is given as source-lang and as target-lang"):
        load_data(config(tmp_path, target_lang="en"))
    (tmp_path / "train.fr").write_text("\n".join(source for source, _ in PAIRS))
    with pytest.raises(DataError, match="holds de, en, fr, and nothing says"):
        load_data(config(tmp_path, target_lang=None))
    assert load_data(config(tmp_path, target_lang="fr")).assets["languages"]["target"] == "fr"


def test_endings_that_are_no_language(tmp_path: Path) -> None:
    aligned(tmp_path)
    for name in ("train.zip", "train.py", "train.npz", "train.md"):
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DataError, match="holds de and en, and nothing says"):
        load_data(Config(data=str(tmp_path)))
    with pytest.raises(DataError, match="zip"):
        load_data(config(tmp_path / "train.zip"))
    for old, new in (("en", "src"), ("de", "tgt")):
        (tmp_path / f"train.{old}").rename(tmp_path / f"train.{new}.txt")
    found = load_data(config(tmp_path, source_lang="src", target_lang="tgt"))
    assert all_pairs(found) == sorted(PAIRS)


def test_a_folder_without_two_languages(tmp_path: Path) -> None:
    (tmp_path / "train.en").write_text("a\n")
    with pytest.raises(DataError, match=r"differ by the language alone, as train\.en and train\.de: name them so"):
        load_data(config(tmp_path))
    aligned(tmp_path, "europarl")
    aligned(tmp_path, "news")
    with pytest.raises(DataError, match=r"holds europarl, news, none of them called train: name one, as .*europarl"):
        load_data(config(tmp_path))
    assert all_pairs(load_data(config(tmp_path / "news"))) == sorted(PAIRS)


def test_counts_of_lines_that_differ(tmp_path: Path) -> None:
    aligned(tmp_path)
    with (tmp_path / "train.de").open("a") as file:
        file.write("noch eine\n")
    with pytest.raises(DataError, match=r"train\.en has 30 lines and .*train\.de 31: line for line"):
        load_data(config(tmp_path, on_bad="skip"))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_lf_and_crlf_end_a_line(tmp_path: Path, end: str) -> None:
    odd = [("a\u2028b", "x\x85y"), ("c\x0bd", "\ufeffz w"), ("e\x0cf", "v\x1cu")]
    data = load_data(config(aligned(tmp_path, pairs=[*PAIRS, *odd], end=end)))
    assert sum(data.summary["counts"].values()) == len(PAIRS) + 3
    assert {("a\u2028b", "x\x85y"), ("e\x0cf", "v\x1cu")} <= set(all_pairs(data))
    warned = [warning for warning in data.summary["warnings"] if "read as blanks" in warning]
    assert [warning.partition(": ")[2][:13] for warning in warned] == ["3 texts hold ", "3 texts hold "]
    assert f"{tmp_path / 'train.en'} line 31, {tmp_path / 'train.en'} line 32" in warned[0]


def test_a_last_line_without_its_end_counts(tmp_path: Path) -> None:
    aligned(tmp_path)
    (tmp_path / "train.de").write_text("\n".join(target for _, target in PAIRS))
    assert sum(load_data(config(tmp_path)).summary["counts"].values()) == len(PAIRS)


def test_bad_pairs_are_named_once_each_by_file_and_line(tmp_path: Path) -> None:
    long = " ".join(["word"] * 200)
    bad = [("", "leer"), ("empty", " "), ("", ""), ("nul\0", "null"), ("two words", long)]
    aligned(tmp_path, pairs=[*PAIRS, *bad])
    with pytest.raises(DataError) as refused:
        load_data(config(tmp_path))
    en, de = tmp_path / "train.en", tmp_path / "train.de"
    said = str(refused.value)
    assert "5 of 35 examples cannot be used" in said
    assert f"{en} line 31: has no text: fill it in." in said
    assert f"{de} line 32: holds nothing but blanks: fill it in." in said
    assert f"{en} line 33: is empty, and so is its translation ({de} line 33): leave both out." in said
    assert f"{en} line 34: holds a NUL, its character 4" in said
    assert f"{en} line 35: has 2 words and its translation ({de} line 35) 200: mend it" in said
    data = load_data(config(tmp_path, on_bad="skip"))
    assert all_pairs(data) == sorted(PAIRS)
    assert len(data.summary["skipped"]) == 5
    assert ("two words", long) in all_pairs(load_data(config(tmp_path, on_bad="skip", longest_ratio=30)))


def test_another_encoding_names_line_and_byte(tmp_path: Path) -> None:
    aligned(tmp_path)
    lines = [target for _, target in PAIRS]
    lines[6] = "größer"
    (tmp_path / "train.de").write_bytes("\n".join(lines).encode("cp1252"))
    with pytest.raises(DataError) as refused:
        load_data(config(tmp_path))
    said = f"{tmp_path / 'train.de'} line 7: is not UTF-8 (byte offset 2 of line 7 holds 0xF6): save the file as UTF-8"
    assert said in str(refused.value)
    assert "--encoding cp1252" in str(refused.value)
    assert any(target == "größer" for _, target in all_pairs(load_data(config(tmp_path, encoding="cp1252"))))


def test_utf16_is_named_and_read(tmp_path: Path) -> None:
    aligned(tmp_path)
    for name in ("train.en", "train.de"):
        (tmp_path / name).write_bytes((tmp_path / name).read_text().encode("utf-16"))
    with pytest.raises(DataError, match=r"train\.en is UTF-16: save it as UTF-8, or give --encoding utf-16"):
        load_data(config(tmp_path))
    assert all_pairs(load_data(config(tmp_path, encoding="utf-16"))) == sorted(PAIRS)


def test_a_mark_at_the_start_is_no_text(tmp_path: Path) -> None:
    aligned(tmp_path)
    (tmp_path / "train.en").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "train.en").read_bytes())
    assert all_pairs(load_data(config(tmp_path))) == sorted(PAIRS)


def test_what_is_odd_about_the_whole_is_a_warning(tmp_path: Path) -> None:
    aligned(tmp_path, pairs=[*PAIRS, PAIRS[0], ("Berlin", "Berlin"), (PAIRS[1][0], "anders")])
    aligned(tmp_path, "valid", [("another", "andere"), PAIRS[2]])
    aligned(tmp_path, "test", [PAIRS[3], (PAIRS[4][0], "anders"), ("new", "neu")])
    found = check_data(config(tmp_path))
    assert found.errors == []
    told = kinds(found)
    en = tmp_path / "train.en"
    assert told["identical-sides"].startswith(f"{en} line 32: 1 pair has the same text on both sides")
    assert f"{en} line 1 = {en} line 31: 1 example stands a second time in the same split" in told["duplicate"]
    assert "3 sentences stand (1 with another target there) in more than one split" in told["duplicate-across-splits"]
    assert f"{en} line 5 = {tmp_path / 'test.en'} line 2" in told["duplicate-across-splits"]
    assert found.summary["duplicates"] == {"total": 3, "across_splits": 3}


def test_equal_sources_stay_together_whatever_their_targets(tmp_path: Path) -> None:
    pairs = [(f"sentence {n}", f"Satz {n} {way}") for n in range(40) for way in "ab"]
    data = load_data(config(aligned(tmp_path, pairs=pairs)))
    sides = [{source for source, _ in pairs_of(data, split)} for split in data.splits]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 40
    assert data.summary["duplicates"] == {"total": 0, "across_splits": 0}


def test_limits_fingerprints_and_hashes(tmp_path: Path) -> None:
    whole = load_data(config(aligned(tmp_path / "a")))
    turned = load_data(config(aligned(tmp_path / "b", pairs=PAIRS[::-1])))
    assert {s: set(pairs_of(whole, s)) for s in whole.splits} == {s: set(pairs_of(turned, s)) for s in turned.splits}
    few = load_data(config(tmp_path / "a", limit=2))
    assert few.summary["counts"] == {"train": 2, "valid": 2, "test": 2}
    assert set(pairs_of(few, "train")) < set(pairs_of(whole, "train"))
    (tmp_path / "a" / "train.de").write_text((tmp_path / "a" / "train.de").read_text().replace("Nummer 7", "Nr. 7"))
    changed = load_data(config(tmp_path / "a"))
    assert changed.fingerprint != whole.fingerprint
    differ = sum(int((changed.hashes[split] != whole.hashes[split]).sum()) for split in whole.splits)
    assert differ == 2  # of a house and of a tree


ROWS = [{"english": source, "deutsch": target, "topic": source.split()[1]} for source, target in PAIRS]


def write_table(path: Path, rows: list[dict[str, str]] = ROWS) -> Path:
    if path.name.endswith(".jsonl"):
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.name.endswith(".parquet"):
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({name: [row[name] for row in rows] for name in rows[0]}), path)
    else:
        sign = "\t" if ".tsv" in path.name else ","
        text = "\n".join([sign.join(rows[0]), *(sign.join(row.values()) for row in rows)]).encode()
        path.write_bytes(gzip.compress(text) if path.name.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("end", [".csv", ".csv.gz", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_table_gives_the_same_pairs(tmp_path: Path, end: str) -> None:
    path = write_table(tmp_path / f"t{end}")
    columns = {"source": "english", "target": "deutsch"}
    data = load_data(Config(data=str(path), columns=columns))
    assert all_pairs(data) == sorted(PAIRS)
    assert data.assets["languages"] == {"source": "english", "target": "deutsch"}
    named = load_data(Config(data=str(path), source_lang="english", target_lang="deutsch"))
    assert named.fingerprint == data.fingerprint
    place = "row" if end == ".parquet" else "line"
    assert f"{path} {place} " in data.splits["test"].ids(np.array([0]))[0]


def test_tables_by_position_in_folders_and_with_groups(tmp_path: Path) -> None:
    for name, rows in (("train", ROWS), ("dev", ROWS[:3]), ("test", ROWS[5:9])):
        (tmp_path / f"{name}.tsv").write_text("".join(f"{row['deutsch']}\t{row['english']}\n" for row in rows))
    data = load_data(Config(data=str(tmp_path), columns={"source": "1", "target": "0"}, target_lang="de"))
    assert data.summary["counts"] == {"train": 30, "valid": 3, "test": 4}
    assert pairs_of(data, "test") == PAIRS[5:9]
    assert data.assets["languages"] == {"source": "source", "target": "de"}
    path = write_table(tmp_path / "grouped.csv", [{**row, "group": str(n % 6)} for n, row in enumerate(ROWS)])
    settings: dict[str, Any] = {"source_lang": "english", "target_lang": "deutsch", "group_by": "topic"}
    data = load_data(Config(data=str(path), **settings))
    groups = [{PAIRS.index(pair) % 6 for pair in pairs_of(data, split)} for split in data.splits]
    assert sum(map(len, groups)) == 6
    store = data.splits["test"].only(np.array([1, 2]))  # type: ignore[attr-defined]
    assert store.compared.tolist() == [source.split()[1] for source, _ in pairs_of(data, "test")[1:3]]
    assert len(store) == len(store.groups) == 2


def test_columns_that_nobody_named(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv")
    with pytest.raises(DataError) as refused:
        load_data(Config(data=str(path)))
    assert "which column is the source or the target: name them with --columns" in str(refused.value)
    assert "there are english, deutsch, topic" in str(refused.value)
    with pytest.raises(DataError, match=r"has no column 'englsh' \(for source\): did you mean 'english'"):
        load_data(Config(data=str(path), columns={"source": "englsh", "target": "deutsch"}))
    with pytest.raises(DataError, match="group_by is for tables"):
        load_data(config(aligned(tmp_path / "c"), group_by="topic"))
    with pytest.raises(DataError, match="columns were given"):
        load_data(config(tmp_path / "c", columns={"source": "a", "target": "b"}))


def test_bad_rows_of_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    bad: list[Any] = [{"source": "x"}, {"source": None, "target": ""}, {"source": 3, "target": "y"}, ["no row"]]
    rows = [{"source": source, "target": target} for source, target in PAIRS]
    path.write_text("\n".join(map(json.dumps, [*rows, *bad])))
    found = check_data(Config(data=str(path)))
    told = {problem.where: problem.message for problem in found.errors}
    assert told[f"{path} line 31"] == "has no text: fill it in."
    assert told[f"{path} line 32"] == "is empty, and so is its translation: leave both out."
    assert told[f"{path} line 33"].startswith("holds 3 where a text belongs")
    assert told[f"{path} line 34"].startswith("is no JSON object")
    assert len(told) == 4
    assert sum(load_data(Config(data=str(path), on_bad="skip")).summary["counts"].values()) == 30


def test_a_finished_model_is_scored_on_all_or_the_test(tmp_path: Path) -> None:
    assets = {"languages": {"source": "en", "target": "de"}}
    folder = aligned(tmp_path / "c")
    found = load_test(Config(data=str(folder)), assets)
    assert pairs_of(found, "test") == PAIRS
    assert list(found.splits) == ["test"]
    aligned(folder, "test", PAIRS[:7])
    assert pairs_of(load_test(Config(data=str(folder)), assets), "test") == PAIRS[:7]
    assert len(load_test(Config(data=str(folder), limit=3), assets).splits["test"]) == 3
    table = write_table(tmp_path / "t.csv")
    columns = {"source": "english", "target": "deutsch"}
    found = load_test(Config(data=str(table), columns=columns), assets)
    assert pairs_of(found, "test") == PAIRS
    assert "Scored on 30 of the 30 examples" in found.protocol


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_data(config(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="there is no built-in sample 'sample:other'"):
        load_data(config("sample:other"))
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(DataError, match=r"of a kind \(arrays\) that translations are not read from"):
        load_data(config(tmp_path / "x.npz"))
    aligned(tmp_path / "c")
    (tmp_path / "c" / "train.de").write_text("")
    with pytest.raises(DataError, match=r"train\.de is empty: nothing to read"):
        load_data(config(tmp_path / "c"))


def batches(paths: Sequence[str | Path], **settings: Any) -> list[tuple[str, bytes]]:
    found = inputs([str(path) for path in paths], Config(batch_size=3, **settings), {"languages": {"source": "en"}})
    return [pair for ids, raw in found for pair in zip(ids, raw["text"].tolist(), strict=True)]


def test_predict_reads_lines_and_keeps_blank_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"one\r\n\ntw\xc3\xb6\xe2\x80\xa8three\n  \nno\0ne\nfo\xffur\nlast"
    path = tmp_path / "texts.txt"
    path.write_bytes(text)
    found = batches([path])
    assert [name for name, _ in found] == [f"{path} line {number}" for number in range(1, 8)]
    values = [value for _, value in found]
    assert values[:4] == [b"one", b"", "twö\u2028three".encode(), b""]
    assert values[4].startswith(b"\0it holds a NUL")
    assert values[5].startswith(b"\0it is not UTF-8 (byte offset 2 holds 0xFF)")
    assert values[6] == b"last"
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(text)))
    assert batches(["-"]) == [(name.removeprefix(f"{path} "), value) for name, value in found]
    (tmp_path / "texts.txt.gz").write_bytes(gzip.compress(text))
    assert [value for _, value in batches([tmp_path / "texts.txt.gz"])] == values
    assert len(batches([tmp_path])) == 14


def test_predict_reads_tables_and_says_what_is_missing(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv")
    found = batches([path], columns={"source": "english"})
    assert found[0] == (f"{path} line 2", PAIRS[0][0].encode())
    assert len(found) == 30
    path.write_text("en,de\na b,x\n,y\n")
    assert [value for _, value in batches([path])] == [b"a b", b""]
    path.write_text("first\nsecond\n")
    assert [value for _, value in batches([path])] == [b"first", b"second"]
    path.write_text("a,b\nx,y\n")
    with pytest.raises(DataError, match="has no column 'source'"):
        batches([path])
    ((_, value),) = batches([tmp_path / "nowhere"])
    assert value.startswith(b"\0it does not exist; a text itself is given on standard input")
    (tmp_path / "wide.txt").write_bytes("a\nb".encode("utf-16"))
    with pytest.raises(DataError, match=r"wide\.txt is UTF-16"):
        batches([tmp_path / "wide.txt"])
    assert [value for _, value in batches([tmp_path / "wide.txt"], encoding="utf-16")] == [b"a", b"b"]


def test_references_are_the_texts(tmp_path: Path) -> None:
    from pipelines.text.cache import Tokens

    store = load_data(config(aligned(tmp_path))).splits["test"]
    count = len(store)
    tokens = Tokens(np.zeros(2 * count, np.uint16), np.arange(0, 2 * count + 1, 2))
    found = references(type(store)(store.items, store.rows, pieces=(tokens, tokens)))  # type: ignore[attr-defined, call-arg]
    assert found["tokens"].tolist() == [2] * count
    assert list(zip(found["source"], found["target"], strict=True)) == [PAIRS[row] for row in store.rows]  # type: ignore[attr-defined]


def test_the_sample_is_held_out_by_number() -> None:
    data = load_data(Config())
    texts, about = sample()
    assert 6_000 <= len(about) <= 10_000
    assert len(set(zip(texts["en"], texts["de"], strict=True))) == len(about)
    assert len(set(texts["en"])) == len(about)
    numbers = [{about[row] for row in store.rows.tolist()} for store in data.splits.values()]  # type: ignore[attr-defined]
    assert sum(map(len, numbers)) == len(set.union(*numbers)) == len(set(about))
    assert data.summary["warnings"] == []
    assert data.summary["counts"]["test"] > 600
    turned = load_data(Config(source_lang="de", target_lang="en"))
    assert turned.assets["languages"] == {"source": "de", "target": "en"}
    assert {target for _, target in all_pairs(turned)} == set(texts["en"])
    with pytest.raises(DataError, match="the sample holds en and de, not fr"):
        load_data(Config(target_lang="fr"))


def test_the_sample_says_what_it_should() -> None:
    texts, _ = sample()
    known = dict(zip(texts["en"], texts["de"], strict=True))
    assert known["eighty-eight"] == "achtundachtzig"
    assert known["in twelve ninety-nine"] == "im Jahr zwölfhundertneunundneunzig"
    assert known["the sixteenth of June eleven fifty-six"] == "der sechzehnte Juni elfhundertsechsundfünfzig"
    said = "She was born on the thirteenth of March fourteen oh-five."
    assert known[said] == "Sie wurde am dreizehnten März vierzehnhundertfünf geboren."
    assert known["thirty-three point eight six"] == "dreiunddreißig Komma acht sechs"
    assert known["We are meeting at a quarter past six."] == "Wir treffen uns um Viertel nach sechs."
    assert PATH.stat().st_size < 300_000


def test_the_sample_is_what_its_script_makes() -> None:
    pytest.importorskip("num2words", reason="of the extra [dev]")
    assert gzip.decompress(PATH.read_bytes()).decode() == make_sample.as_text(make_sample.lines())


def test_reading_imports_no_tensorflow(tmp_path: Path) -> None:
    aligned(tmp_path)
    code = (
        "import sys; from tasks.translation.config import Config;"
        "from tasks.translation.data import check_data, load_data;"
        f"load_data(Config()); check_data(Config(data={str(tmp_path)!r}, source_lang='en'));"
        "sys.exit(bool({'tensorflow', 'keras', 'num2words'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.skipif(not MULTI30K.is_dir(), reason="Multi30k is not there")
def test_multi30k() -> None:
    data = load_data(config(MULTI30K))
    assert data.summary["counts"] == {"train": 29_000, "valid": 1_014, "test": 1_000}
    assert data.protocol.startswith("Scored on the given test split (1,000 examples)")
    assert pairs_of(data, "test")[0][1] == "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt."


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set as WMT's are, and one with texts within another feature."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    folder = tmp_path_factory.mktemp("tfds")
    for builder in _builders(tfds):
        builder(data_dir=str(folder), file_format="array_record").download_and_prepare()
    return str(folder)


def _builders(tfds: Any) -> list[Any]:
    texts = tfds.features.Text()
    both = tfds.features.Translation(("de", "en"))
    within = tfds.features.FeaturesDict({"id": np.int64, "translation": {"de": texts, "en": texts}, "topic": texts})
    made = []
    for name, features, keys in (("SixfoldWmt", both, ("de", "en")), ("SixfoldWithin", within, None)):

        def _info(self: Any, features: Any = features, keys: Any = keys) -> Any:
            return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=keys)

        def _examples(self: Any, name: str = name, size: int = 0) -> Iterator[tuple[int, Any]]:
            for number, (source, target) in enumerate(PAIRS[:size]):
                pair = {"en": source, "de": target}
                yield number, pair if name == "SixfoldWmt" else {"id": number, "translation": pair, "topic": "t"}

        def _splits(self: Any, manager: Any, examples: Any = _examples) -> Any:
            sizes = {"train": 30, "validation": 4, "test": 5}
            return {split: examples(self, size=size) for split, size in sizes.items()}

        made.append(
            type(
                name,
                (tfds.core.GeneratorBasedBuilder,),
                {
                    "VERSION": tfds.core.Version("1.0.0"),
                    "code_path": None,
                    "_info": _info,
                    "_split_generators": _splits,
                    "_generate_examples": _examples,
                },
                skip_registration=True,
            )
        )
    return made


def test_tensorflow_datasets(prepared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", prepared)
    data = load_data(Config(data="tfds:sixfold_wmt"))
    assert data.assets["languages"] == {"source": "de", "target": "en"}
    assert data.summary["counts"] == {"train": 30, "valid": 4, "test": 5}
    assert sorted(pairs_of(data, "train")) == sorted((target, source) for source, target in PAIRS)
    turned = load_data(config("tfds:sixfold_wmt"))
    assert sorted(pairs_of(turned, "train")) == sorted(PAIRS)
    assert turned.splits["train"].ids(np.array([0])) == ["sixfold_wmt/1.0.0 train[0]"]
    within = load_data(config("tfds:sixfold_within"))
    assert sorted(pairs_of(within, "train")) == sorted(PAIRS)
    mapped = load_data(
        Config(data="tfds:sixfold_within", columns={"source": "translation/en", "target": "translation/de"})
    )
    assert mapped.fingerprint == within.fingerprint
    with pytest.raises(DataError, match="holds de, en, topic, and nothing says"):
        load_data(Config(data="tfds:sixfold_within"))
    with pytest.raises(DataError, match=r"has no text 'en' \(for source\): .*translation/en"):
        load_data(Config(data="tfds:sixfold_within", columns={"source": "en", "target": "de"}))
