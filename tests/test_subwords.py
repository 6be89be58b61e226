"""Pieces learnt and found, against a plain reference; KerasHub's tokenizers as the same record."""

import io
import json
import os
import subprocess
import sys
import time
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf

from pipelines.errors import ConfigError, StateError
from pipelines.text import subwords
from pipelines.text.chunks import chunks
from pipelines.text.tokenizers import Tokenizer, asset_of, subwords_asset, tokenizer

TEXTS = [
    "The quick brown fox isn't slow; it jumps over 12 lazy dogs.",
    "A quick fox! A lazy dog? 34 dogs…",
    "Die schnellen Füchse und die faulen Hunde: über 100!",
    "Быстрая лиса и ленивая собака. БЫСТРАЯ",
    "敏捷的狐狸跳过懒狗。狐狸",
    "الثعلب البني السريع",
    "हिन्दी में लोमड़ी तेज़ है",
    "👍🏽 👩‍👩‍👧 ❤️ 👍 :-) :-)",
] * 3
STRANGE = [
    "",
    "   \t\n\u3000 ",
    "\x00",
    "a\x00b",
    "▁",
    "▁▁a ▁b",
    "[PAD] [UNK] [START]",
    "e\u0301a\u0301 \u0301",
    "ab中国cd12３４½",
    "don't l’homme 'tis rock'n'roll",
    "\ufeffThe\u200bfox",
    "İSTANBUL ΟΔΟΣ STRASSE ẞ",
    "x" * 100,
    "quickbrownfox" * 20,
    "☃☄☃ ☃",
    "\U0001f469\u200d\U0001f680 \U0001f1e9\U0001f1ea 1\ufe0f\u20e3",
    "\u202bשלום\u202c",
]
SIGNS = "".join(dict.fromkeys("".join(TEXTS + STRANGE))) + "zß€\u2028\u0085ñ한국ไทยかなカナ"


def is_blank(sign: str) -> bool:
    return sign in "▁\u200b\ufeff" or unicodedata.category(sign) in ("Cc", "Zs", "Zl", "Zp")


def kind(sign: str) -> str:
    """What a sign can begin: a Han character, a word, a number, or other."""
    if "CJK UNIFIED" in unicodedata.name(sign, ""):
        return "H"
    return {"L": "L", "N": "N"}.get(unicodedata.category(sign)[0], "O")


def is_inner(sign: str) -> bool:
    """Whether it goes on with a word."""
    return kind(sign) == "L" or unicodedata.category(sign) in ("Mn", "Mc", "Me", "Cf")


def word_end(text: str, at: int) -> int:
    """Where the word, number, … that begins there ends."""
    first, end = kind(text[at]), at + 1
    if first == "H":
        while end < len(text) and unicodedata.category(text[end])[0] == "M":
            end += 1
        return end
    if first != "L":
        while end < len(text) and not is_blank(text[end]) and kind(text[end]) == first:
            end += 1
        return end
    while end < len(text):
        if is_inner(text[end]) and not is_blank(text[end]):
            end += 1
        elif text[end] in "'’" and end + 1 < len(text) and kind(text[end + 1]) == "L":
            end += 2
        else:
            break
    return end


def reference_words(text: str) -> list[str]:
    found, at, mark = [], 0, "▁"
    while at < len(text):
        if is_blank(text[at]):
            mark, at = "▁", at + 1
            continue
        end = word_end(text, at)
        found.append(mark + text[at:end])
        mark, at = "", end
    return found


def reference(text: str, pieces: list[str], *, lowercase: bool) -> list[int]:
    """Greedy longest match, character by character."""
    ids = {piece: token for token, piece in enumerate(pieces) if token >= 4}
    longest = max(map(len, ids))
    tokens: list[int] = []
    for word in reference_words(text):
        folded = "".join(sign.lower()[0] for sign in word) if lowercase else word
        for part in (folded[start : start + 32] for start in range(0, len(folded), 32)):
            at, row = 0, [-1]
            while at < len(part):
                end = next((end for end in range(min(len(part), at + longest), at, -1) if part[at:end] in ids), None)
                if end is not None:
                    row.append(ids[part[at:end]])
                elif row[-1] != 1:
                    row.append(1)
                at = end or at + 1
            tokens += row[1:]
    return tokens


def made(pieces: list[str], *, lowercase: bool = True) -> Tokenizer:
    return tokenizer(subwords_asset(pieces, lowercase=lowercase))


def rows(found: tf.RaggedTensor) -> list[list[int]]:
    listed: list[list[int]] = found.to_list()
    return listed


@pytest.fixture(scope="module")
def learnt() -> list[str]:
    return subwords.learn(TEXTS, 300, lowercase=True)


def test_learnt_pieces(learnt: list[str]) -> None:
    assert learnt[:4] == list(subwords.SPECIAL)
    assert len(learnt) <= 300
    assert len(set(learnt)) == len(learnt)
    assert "▁quick" in learnt
    assert "▁" in learnt
    assert not any(piece != subwords.fold(piece) for piece in learnt[4:])
    counts = np.bincount(np.concatenate([reference(text, learnt, lowercase=True) for text in TEXTS]), minlength=300)
    used = counts[4 : len(learnt)].tolist()
    assert used == sorted(used, reverse=True)


def test_learning_twice_and_in_another_order_gives_the_same(learnt: list[str]) -> None:
    assert subwords.learn([text.encode() for text in reversed(TEXTS)], 300, lowercase=True) == learnt


@pytest.mark.parametrize("texts", [[], [""], ["a b c d e f"], ["▅ ▅▅ a▅a"]])
def test_hardly_anything_to_learn_from(texts: list[str]) -> None:
    pieces = subwords.learn(texts, 100, lowercase=False)
    assert pieces[:4] == list(subwords.SPECIAL)
    assert "▁" in pieces
    assert made(pieces).encode(tf.constant(["a b", ""])).shape[0] == 2


def test_signs_are_dropped_before_the_size_is_passed() -> None:
    """More different characters than pieces."""
    texts = ["".join(map(chr, range(0x4E00, 0x4E00 + 500)))] * 2 + ["the the then"]
    pieces = subwords.learn(texts, 60, lowercase=False)
    assert len(pieces) <= 60
    with pytest.raises(ValueError, match="too few"):
        subwords.learn(texts, 5, lowercase=False)


def test_a_sign_seen_once_is_unknown() -> None:
    pieces = subwords.learn(["aa bb ab ☃"] * 1 + ["aa bb"], 50, lowercase=False)
    assert "☃" not in "".join(pieces)
    assert rows(made(pieces).encode(tf.constant(["☃"])))[0][-1] == subwords.UNKNOWN


@pytest.mark.parametrize("lowercase", [True, False])
def test_encoding_is_greedy_longest_match(lowercase: bool) -> None:
    pieces = subwords.learn(TEXTS, 300, lowercase=lowercase)
    random = np.random.default_rng(0)
    drawn = ["".join(random.choice(list(SIGNS), random.integers(0, 80))) for _ in range(400)]
    texts = TEXTS + STRANGE + drawn
    found = made(pieces, lowercase=lowercase).encode(tf.constant([text.encode() for text in texts]))
    assert found.dtype == tf.int32
    assert found.row_splits.dtype == tf.int64
    for text, row in zip(texts, rows(found), strict=True):
        assert row == reference(text, pieces, lowercase=lowercase), text
    assert subwords.UNKNOWN in found.values.numpy()


def test_random_pieces() -> None:
    """Any set of pieces, with prefixes that are no pieces themselves."""
    random = np.random.default_rng(1)
    drawn = {"".join(random.choice(list("abc▁"), random.integers(1, 7))) for _ in range(60)}
    pieces = [*subwords.SPECIAL, *sorted(drawn)]
    texts = ["".join(random.choice(list("abcd "), 60)) for _ in range(50)]
    found = rows(made(pieces, lowercase=False).encode(tf.constant(texts)))
    assert found == [reference(text, pieces, lowercase=False) for text in texts]


def test_no_texts(learnt: list[str]) -> None:
    found = made(learnt).encode(tf.constant([], tf.string))
    assert rows(found) == []
    assert found.dtype == tf.int32


def test_bytes_that_are_no_utf8(learnt: list[str]) -> None:
    """Each is replaced; what stands around it is found all the same."""
    kit = made(learnt)
    (row,) = rows(kit.encode(tf.constant([b"quick \xff\xfe fox \xe4\xb8"])))
    assert kit.pieces(row) == ["▁quick", "▁", "[UNK]", "▁fox", "▁", "[UNK]"]


def test_decoding_gives_the_text_back(learnt: list[str]) -> None:
    kit = made(learnt)
    texts = ["the quick  brown fox isn't slow; it", "狐狸 12 :-) "]
    for text, row in zip(texts, rows(kit.encode(tf.constant(texts))), strict=True):
        assert kit.start is not None
        assert subwords.decode(kit.pieces([kit.start, *row, kit.pad])) == " ".join(text.split())


@pytest.mark.parametrize("text", ["x" * (1 << 20), "☃" * (1 << 18), "fox " * (1 << 18), "国" * (1 << 18)])
def test_a_megabyte(learnt: list[str], text: str) -> None:
    started = time.monotonic()
    kit = made(learnt)
    (row,) = rows(kit.encode(tf.constant([text])))
    assert row[:40] == reference(text[:2000], learnt, lowercase=True)[:40]
    assert subwords.learn([text], 50, lowercase=True)
    assert time.monotonic() - started < 30


def test_in_a_data_stream(learnt: list[str]) -> None:
    kit = made(learnt)
    data = tf.data.Dataset.from_tensor_slices(TEXTS).batch(5).map(kit.encode, num_parallel_calls=2)
    found = [row for part in data for row in rows(part)]
    assert found == rows(kit.encode(tf.constant(TEXTS)))


def test_chunks_keep_order_and_bound() -> None:
    texts = ["a", b"b" * 200_000, "\ud800", "c" * 100_000, "d"]
    parts = list(chunks(texts))
    assert [len(part) for part in parts] == [4, 1]
    assert parts[0][:1] + parts[1] == [b"a", b"d"]
    assert [len(part) for part in chunks(["x"] * 5000)] == [4096, 904]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"kind": "pickle"}, "kind"),
        ({"kind": None}, "kind"),
        ({"pieces": "abc"}, "no list"),
        ({"pieces": ["a", "b", "c", "d", "e"]}, "begin with"),
        ({"pieces": list(subwords.SPECIAL)}, "begin with"),
        ({"pieces": [*subwords.SPECIAL, ""]}, "no list"),
        ({"lowercase": "yes"}, "lowercase"),
        ({"kind": "preset"}, "vocabulary"),
    ],
)
def test_damaged_asset_is_a_sentence(learnt: list[str], change: dict[str, Any], what: str) -> None:
    with pytest.raises(StateError, match=what):
        tokenizer(subwords_asset(learnt, lowercase=True) | change)
    with pytest.raises(StateError, match="kind"):
        tokenizer({})


# KerasHub's tokenizers, one for each kind, small.

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*MARKS, "the", "quick", "br", "##own", "fox", ".", "##es", "[", "]", "cls"]


def word_piece(name: str) -> Any:
    keras_hub = pytest.importorskip("keras_hub")
    return getattr(keras_hub.models, name)(WORDS, lowercase=True)


def byte_pair(name: str, *special: str) -> Any:
    keras_hub = pytest.importorskip("keras_hub")
    from keras_hub.src.tokenizers.byte_pair_tokenizer import bytes_to_unicode

    merges = ["Ġ q", "u i", "c k", "Ġq ui", "Ġqui ck"]
    names = [*special, *bytes_to_unicode()[1], *(merge.replace(" ", "") for merge in merges)]
    return getattr(keras_hub.models, name)({name: token for token, name in enumerate(names)}, merges)


def sentence_piece(name: str, **settings: Any) -> Any:
    keras_hub = pytest.importorskip("keras_hub")
    written = io.BytesIO()
    texts = ["the quick brown fox", "the fox slept", "a quick fox . [ ]"] * 5
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=written, vocab_size=45, hard_vocab_limit=False, minloglevel=2,
        **settings,
    )  # fmt: skip
    return getattr(keras_hub.models, name)(written.getvalue())


ALBERT = {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3, "pad_piece": "<pad>", "unk_piece": "<unk>"}
BERT_MARKS = {"bos_piece": "[CLS]", "eos_piece": "[SEP]"}
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
PRESETS = {
    "BertTokenizer": (lambda: word_piece("BertTokenizer"), (0, 2, 3)),
    "DistilBertTokenizer": (lambda: word_piece("DistilBertTokenizer"), (0, 2, 3)),
    "ElectraTokenizer": (lambda: word_piece("ElectraTokenizer"), (0, 2, 3)),
    "RobertaTokenizer": (lambda: byte_pair("RobertaTokenizer", *ROBERTA), (1, 0, 2)),
    "GPT2Tokenizer": (lambda: byte_pair("GPT2Tokenizer", "<|endoftext|>"), (0, None, None)),
    "AlbertTokenizer": (
        lambda: sentence_piece("AlbertTokenizer", **ALBERT, **BERT_MARKS, user_defined_symbols="[MASK]"),
        (0, 2, 3),
    ),
    "DebertaV3Tokenizer": (
        lambda: sentence_piece(
            "DebertaV3Tokenizer", pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", unk_piece="[UNK]",
            **BERT_MARKS,
        ),
        (0, 1, 2),
    ),
    "XLMRobertaTokenizer": (lambda: sentence_piece("XLMRobertaTokenizer", unk_id=0, bos_id=1, eos_id=2), (1, 0, 2)),
    "T5Tokenizer": (lambda: sentence_piece("T5Tokenizer", bos_id=-1, pad_id=0, eos_id=1, unk_id=2), (0, None, 1)),
}  # fmt: skip


@cache
def kit_of(name: str) -> Tokenizer:
    return tokenizer(json.loads(json.dumps(asset_of(PRESETS[name][0]()))))


@pytest.mark.parametrize("name", PRESETS)
def test_preset(name: str) -> None:
    """Rebuilt from the JSON of its asset it does what KerasHub's own does, in a graph, and strange texts do no harm."""
    make, special = PRESETS[name]
    hub, kit = make(), kit_of(name)
    assert (kit.pad, kit.start, kit.end) == special
    assert kit.size == hub.vocabulary_size()
    assert kit.needs == "tensorflow_text"
    texts = ["The quick brown fox.", "the foxes", "quick"]
    own = tf.function(hub.tokenize)(tf.constant(texts))
    found = kit.encode(tf.constant(texts))
    assert found.dtype == tf.int32
    assert found.row_splits.dtype == tf.int64
    assert rows(found) == rows(own)
    odd = kit.encode(tf.constant([*(text.encode() for text in STRANGE), b"\xff\xfe fox", b"<pad> [PAD] [CLS] <s>"]))
    values = odd.values.numpy()
    assert odd.shape[0] == len(STRANGE) + 2
    assert values.min() >= 0
    assert values.max() < kit.size
    assert kit.pad not in values
    assert rows(kit.encode(tf.constant([], tf.string))) == []
    pieces = kit.pieces(rows(found)[0])
    assert pieces[0].startswith("▁")
    assert "▁quick▁br" in "".join(pieces)


def test_preset_in_a_data_stream_with_threads() -> None:
    """The byte-pair kind remembers words in a table that all threads share: a new one, filled by four at once."""
    kit = tokenizer(asset_of(PRESETS["RobertaTokenizer"][0]()))
    texts = [f"quick {chr(97 + i % 26) * (i % 7)} fox{i}" for i in range(200)]
    data = tf.data.Dataset.from_tensor_slices(texts).batch(8).map(kit.encode, num_parallel_calls=4)
    found = [row for part in data for row in rows(part)]
    assert found == [rows(kit_of("RobertaTokenizer").encode(tf.constant([text])))[0] for text in texts]


def test_byte_pairs_of_one_endless_word() -> None:
    """KerasHub takes the square of a word's length: a quarter of a million signs would be hours."""
    encode = kit_of("RobertaTokenizer").encode
    started = time.monotonic()
    assert encode(tf.constant(["x" * (1 << 18)])).row_lengths().numpy()[0] > 1 << 18
    assert time.monotonic() - started < 30
    assert len(rows(encode(tf.constant(["x" * 127])))[0]) == 127


def test_pieces_of_presets() -> None:
    """Words begin with ▁; a character of several bytes stands with its last."""
    bert = kit_of("BertTokenizer")
    assert bert.pieces([2, 5, 7, 8, 10, 3]) == ["[CLS]", "▁the", "▁br", "own", "▁.", "[SEP]"]
    roberta = kit_of("RobertaTokenizer")
    (row,) = rows(roberta.encode(tf.constant(["a quick é中"])))
    found = roberta.pieces([0, *row, 2])
    assert found == ["<s>", "▁a", "▁quick", "▁", "", "é", "", "", "中", "</s>"]


def test_accents_that_an_uncased_vocabulary_does_not_know() -> None:
    """BERT's were learnt without; one that has them keeps them, and so does one that is cased."""
    keras_hub = pytest.importorskip("keras_hub")
    make = keras_hub.models.BertTokenizer

    def pieces(words: list[str], *, lowercase: bool) -> list[str]:
        kit = tokenizer(asset_of(make([*MARKS, *words], lowercase=lowercase)))
        return kit.pieces(rows(kit.encode(tf.constant(["café Über"])))[0])

    assert pieces(["cafe", "uber"], lowercase=True) == ["▁cafe", "▁uber"]
    assert pieces(["cafe", "café", "über"], lowercase=True) == ["▁café", "▁über"]
    assert pieces(["cafe", "Uber"], lowercase=False) == ["▁[UNK]", "▁[UNK]"]


def test_only_tokenizers_are_made() -> None:
    """An asset names a class; nothing but KerasHub's tokenizers can be meant, nor a file be read."""
    keras_hub = pytest.importorskip("keras_hub")
    asset = asset_of(PRESETS["BertTokenizer"][0]())
    for name in ("BertBackbone", "Tokenizer", "ByteTokenizer", "__class__", "os", "NoSuchTokenizer"):
        with pytest.raises(ConfigError, match=name):
            tokenizer({**asset, "class": name})
    with pytest.raises(StateError, match="vocabulary"):
        tokenizer({**asset, "vocabulary": "/etc/passwd"})
    with pytest.raises(StateError, match="config has vocabulary"):
        tokenizer({**asset, "config": {"vocabulary": "/etc/passwd"}})
    with pytest.raises(StateError, match="base64"):
        tokenizer({"kind": "preset", "class": "AlbertTokenizer", "config": {}, "proto": "/etc/passwd"})
    with pytest.raises(StateError, match="damaged"):
        tokenizer({"kind": "preset", "class": "AlbertTokenizer", "config": {}, "proto": "AAAA"})
    with pytest.raises(StateError, match="damaged"):
        tokenizer({**asset, "vocabulary": ["a", "b"]})
    with pytest.raises(ConfigError, match="ByteTokenizer"):
        asset_of(keras_hub.tokenizers.ByteTokenizer())


SERVE = """
import importlib, json, sys
import tensorflow as tf

folder, needs, texts, *names = sys.argv[1:]
if needs:
    importlib.import_module(needs)
texts = tf.constant(json.loads(texts))
found = {name: tf.saved_model.load(f"{folder}/{name}").encode(texts).to_list() for name in names}
assert not {"keras_hub", "pipelines", "sentencepiece"} & set(sys.modules)
assert needs or "tensorflow_text" not in sys.modules
print(json.dumps(found))
"""


def served(kits: dict[str, Tokenizer], folder: Path, texts: list[str]) -> dict[str, list[list[int]]]:
    """What saved graphs give in a process that has nothing but TensorFlow, and what the records say that is needed.

    Under a Turkish locale, where ICU, which tf.strings.lower asks, makes a dotless i of I.
    """
    for name, kit in kits.items():
        module = tf.Module()
        module.encode, module.tracked = kit.encode, kit.tracked
        tf.saved_model.save(module, str(folder / name))
    (needs,) = {kit.needs for kit in kits.values()}
    command = [sys.executable, "-c", SERVE, str(folder), needs or "", json.dumps(texts), *kits]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "LC_ALL": "tr_TR.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[list[int]]] = json.loads(done.stdout.splitlines()[-1])
    return found


SERVED = ["The quick brown fox IS İt.", "", "another 狐狸"]


def test_served_from_a_saved_model(learnt: list[str], tmp_path: Path) -> None:
    kit = made(learnt)
    assert served({"kit": kit}, tmp_path, SERVED) == {"kit": rows(kit.encode(tf.constant(SERVED)))}


@pytest.mark.slow
def test_presets_served_from_a_saved_model(tmp_path: Path) -> None:
    kits = {name: kit_of(name) for name in ("BertTokenizer", "RobertaTokenizer", "AlbertTokenizer")}
    assert served(kits, tmp_path, SERVED) == {name: rows(kit.encode(tf.constant(SERVED))) for name, kit in kits.items()}
