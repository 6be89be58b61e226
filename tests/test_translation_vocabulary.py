"""The pieces of both languages: learnt the same every time, found in texts, put together to texts again."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece

from pipelines.errors import ConfigError, DataError, StateError
from pipelines.text import pieces
from pipelines.text.pieces import END, PAD, START, UNKNOWN, Pieces, as_asset, learn, prepared
from tasks.translation import tokens
from tasks.translation.config import Config
from tasks.translation.data.sample import sample
from tasks.translation.data.stores import PairStore
from tasks.translation.vocabulary import learnt, side_of, usual_size, vocabulary

ENGLISH = [f"the {word} is {much} {size}" for word in ("house", "tree") for much in ("very", "not") for size in "ab"]
GERMAN = [f"das {wort} ist {sehr} größer" for wort in ("Haus", "Bäumchen") for sehr in ("sehr", "nicht")]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIXFOLD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(texts: list[str], size: int = 400, algorithm: Any = "bpe", **settings: bool) -> Pieces:
    options = {"byte_fallback": True, "lowercase": False, **settings}
    model = learn(texts, size, algorithm, **options)
    return Pieces.of(as_asset(model), lowercase=options["lowercase"])


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
@pytest.mark.parametrize("byte_fallback", [True, False])
def test_texts_come_back_as_they_were(algorithm: str, byte_fallback: bool) -> None:
    texts = sample()[0]["de"][::20]
    words = made(texts, 500, algorithm, byte_fallback=byte_fallback)
    found = words.encode(texts)
    assert words.decode(found) == texts
    assert min(map(min, found)) > END
    assert words.names[: END + 1] == ["<pad>", "<unk>", "<s>", "</s>"]
    assert len(words.names) == words.size <= 500
    values, lengths = words.cut([text.encode() for text in texts])
    assert values.dtype == np.int32
    assert values.tolist() == [piece for row in found for piece in row]
    assert lengths.tolist() == [len(row) for row in found]


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
def test_the_same_texts_give_the_same_pieces(algorithm: Any) -> None:
    texts = sample()[0]["en"][::10]
    settings = {"byte_fallback": True, "lowercase": False}
    assert learn(texts, 400, algorithm, **settings) == learn(list(texts), 400, algorithm, **settings)
    assert learn(texts, 400, algorithm, **settings) != learn(texts, 380, algorithm, **settings)


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
@pytest.mark.parametrize("texts", [["a"], ["a", "a"], [], [""], ["日本語"], ENGLISH])
def test_few_texts_give_fewer_pieces(algorithm: str, texts: list[str]) -> None:
    words = made(texts, 8_000, algorithm)
    assert pieces.BYTES + END < words.size < 8_000
    assert words.decode(words.encode(["a 日 ß"])) == ["a 日 ß"]


def test_more_signs_than_there_is_room_for() -> None:
    texts = ["".join(map(chr, range(0x4E00, 0x4E00 + 2_000)))] * 3 + ["common 中"] * 50
    for byte_fallback in (True, False):
        words = made(texts, 300, byte_fallback=byte_fallback)
        assert words.size <= 300
        assert words.decode(words.encode(["中"])) == ["中"]
        rare = words.encode(["\u5507"])[0]
        assert (UNKNOWN in rare) is not byte_fallback
        assert words.decode([rare]) == ["\u5507" if byte_fallback else " ⁇ "]


def test_blanks_and_controls_are_one_blank_and_accents_are_composed() -> None:
    assert prepared(" a\u2028b\t\x85c\ufeff\x01d\u00a0 e ", lowercase=False) == "a b c d e"
    assert prepared("Cafe\u0301 ÀB", lowercase=True) == "café àb"
    words = made(GERMAN)
    assert words.encode(["gro\u0308ßer\u2028das"]) == words.encode(["größer das"])


def test_no_text_becomes_a_special_piece() -> None:
    words = made([*ENGLISH, "<s> </s> <pad> <unk>"])
    for text in ("<s>", "</s> a <pad>", "<unk>", "\u2581", "\u2585", "<0x00>", "\ud800"):
        found = words.encode([text.encode("utf-8", "surrogatepass")])[0]
        assert not {PAD, UNKNOWN, START, END} & set(found), text
    assert words.decode([[START, *words.encode(["the tree"])[0], END, PAD, PAD]]) == ["the tree"]
    assert words.encode([""]) == [[]]
    several = ["the tree", "größe 日", ""]
    assert words.encode(several) == [words.encode([one])[0] for one in several]
    assert words.decode([[]]) == [""]


def test_digits_stand_by_themselves() -> None:
    words = made(["in 1987", "in 1988"] * 20)
    assert [words.names[piece] for piece in words.encode(["1987"])[0]][-4:] == ["1", "9", "8", "7"]


def test_lower_case_is_both_sides_affair() -> None:
    words = made(GERMAN, lowercase=True)
    assert words.encode(["DAS Haus"]) == words.encode(["das haus"])
    assert words.decode(words.encode(["DAS Haus"])) == ["das haus"]


def test_other_libraries_read_the_asset() -> None:
    asset = learnt(ENGLISH, GERMAN, Config(vocabulary_size=350))
    other = sentencepiece.SentencePieceProcessor(model_proto=base64.b64decode(asset["joint"]["proto"]))
    known = vocabulary({"vocabulary": asset})
    assert known.joint
    assert known.source == known.target
    assert other.encode(GERMAN) == known.target.encode(GERMAN)
    assert [other.pad_id(), other.unk_id(), other.bos_id(), other.eos_id()] == [PAD, UNKNOWN, START, END]


def test_each_side_may_have_its_own() -> None:
    asset = learnt(ENGLISH, GERMAN, Config(joint=False, byte_fallback=False, vocabulary="unigram"))
    assert set(asset) == {"kind", "lowercase", "source", "target"}
    known = vocabulary({"vocabulary": asset})
    assert not known.joint
    assert "ß" in known.target.names
    assert "ß" not in known.source.names
    assert side_of(asset, "source") != side_of(asset, "target")


def test_few_sentences_teach_few_pieces() -> None:
    assert [usual_size(["x" * 10] * count) for count in (1, 30_000, 10_000_000)] == [400, 600, 8_000]
    texts, _ = sample()
    known = vocabulary({"vocabulary": learnt(texts["en"], texts["de"], Config())}).target
    assert known.size == usual_size([*texts["en"], *texts["de"]])
    assert known.size < 1_500
    cut = [known.names[piece] for piece in known.encode(["dreitausendvierhundertzwölf"])[0]]
    assert len(cut) >= 3, cut


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "other"},
        {"lowercase": "no"},
        {"joint": {"proto": "!"}},
        {"joint": {"proto": base64.b64encode(b"no model").decode()}},
        {"joint": {"proto": ""}},
        {"joint": {}},
        {"joint": 3},
    ],
)
def test_damage_is_a_sentence(damage: dict[str, Any]) -> None:
    asset = {**learnt(ENGLISH, GERMAN, Config()), **damage}
    with pytest.raises(StateError, match=r"The vocabulary of this model is damaged: train the model again\."):
        vocabulary({"vocabulary": asset})


def folder_of(path: Path, pairs: list[tuple[str, str]], name: str = "train") -> Path:
    path.mkdir(exist_ok=True)
    for side, language in enumerate(("en", "de")):
        (path / f"{name}.{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs))
    return path


PAIRS = [(f"the house number {n}", f"das Haus Nummer {n}") for n in range(40)]


def config(path: Path, **settings: Any) -> Config:
    return Config(data=str(path), source_lang="en", target_lang="de", **{"vocabulary_size": 400, **settings})


def test_pairs_are_tokenised_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    folder = folder_of(tmp_path / "c", PAIRS)
    first = tokens.load_data(config(folder))
    assert set(first.assets) == {"languages", "vocabulary", "pieces", "longest"}
    known = vocabulary(first.assets)
    store = first.splits["train"]
    assert isinstance(store, PairStore)
    raw = store.fetch(np.array([3, 0, 3]))
    expected = [*known.source.encode(store.sources(np.array([3, 0, 3])))]
    assert raw["source"].tolist() == [piece for row in expected for piece in row]
    assert np.diff(raw["source_splits"]).tolist() == [len(row) for row in expected]
    every = np.arange(len(store))
    wanted = [known.target.encode(store.targets(every)), known.source.encode(store.sources(every))]
    assert store.sizes is not None
    assert store.sizes[:, 1].tolist() == [len(row) + 1 for row in wanted[0]]
    assert first.assets["longest"] == max(len(row) + 1 for row in wanted[1])
    assert first.assets["pieces"] == known.source.names
    assert first.summary["pieces"] == known.source.size
    assert len(list((own_cache / "tokens").iterdir())) == 6
    monkeypatch.setattr(Pieces, "cut", None)
    again = tokens.load_data(config(folder)).splits["train"]
    assert again.fetch(every)["target"].tolist() == store.fetch(every)["target"].tolist()


def test_long_pairs_are_left_out_of_train_and_cut_elsewhere(tmp_path: Path) -> None:
    long = ("the house " * 6 + "number", "das Haus")
    folder = folder_of(tmp_path / "c", [long, *PAIRS, long[::-1]])
    folder_of(folder, [*PAIRS[:3], long], "valid")
    folder_of(folder, [PAIRS[4], ("das Haus", "the house " * 8)], "test")
    data = tokens.load_data(config(folder, max_tokens=12))
    store = data.splits["train"]
    assert isinstance(store, PairStore)
    assert store.rows.tolist() == list(range(1, 41))
    assert len(data.hashes["train"]) == len(store) == 40
    assert data.summary["left_out"] == "2 of 42 training pairs, of more than 12 pieces a side"
    assert data.summary["cut"] == {
        "valid": "1 sources and 0 targets, to 12 pieces",
        "test": "0 sources and 1 targets, to 12 pieces",
    }
    assert data.assets["longest"] <= 12
    whole = tokens.load_data(config(folder))
    assert (whole.hashes["train"][1:-1] == data.hashes["train"]).all()
    assert whole.summary["left_out"] == "none"
    long_only = folder_of(tmp_path / "long", [(f"{one} {n}", two) for n, (one, two) in enumerate([long] * 30)])
    with pytest.raises(DataError, match="none of the 24 training pairs has at most 8 pieces a side: raise max_tokens"):
        tokens.load_data(config(long_only, max_tokens=8))


def test_a_finished_model_keeps_its_pieces(tmp_path: Path) -> None:
    data = tokens.load_data(config(folder_of(tmp_path / "c", PAIRS)))
    other = folder_of(tmp_path / "other", [("quite new words", "ganz neue Wörter")])
    found = tokens.load_test(Config(data=str(other)), data.assets)
    assert found.assets == data.assets
    store = found.splits["test"]
    words = vocabulary(data.assets).target
    assert store.fetch(np.array([0]))["target"].tolist() == words.encode(["ganz neue Wörter"])[0]


def test_pieces_of_another_run_are_taken_over(tmp_path: Path) -> None:
    import json

    data = tokens.load_data(config(folder_of(tmp_path / "c", PAIRS)))
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "run.yaml").write_text("task: translation\nvocabulary_size: 400\n")
    (run / "model" / "vocabulary.json").write_text(json.dumps(data.assets["vocabulary"]))
    other = folder_of(tmp_path / "other", [(f"quite new {n}", f"ganz neu {n}") for n in range(30)])
    found = tokens.load_data(config(other, pretrained=str(run)))
    assert found.assets["vocabulary"] == data.assets["vocabulary"]
    with pytest.raises(ConfigError, match="vocabulary_size 500: the run .* has 400, and its pieces are taken over"):
        tokens.load_data(config(other, pretrained=str(run), vocabulary_size=500))
