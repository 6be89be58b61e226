"""Subword pieces: learnt from texts, and found in texts by a graph of core TensorFlow operations.

A text is cut into words (runs of letters, of digits, of other signs; each Han character by itself), "▁" marks those at
the start of the text or after a blank, and each word becomes the longest piece that it begins with, then the longest
that its rest begins with, and so on. Nothing but constants is in the graph: it can be saved and served as it is.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import tensorflow as tf

from pipelines.text.chunks import chunks

START_OF_WORD = "▁"
SPECIAL = ("[PAD]", "[UNK]", "[START]", "[END]")
"""The first pieces; no text holds them."""
PAD, UNKNOWN, START, END = range(len(SPECIAL))
LONGEST_WORD = 32
"""Characters: longer words are cut there, so that a text without blanks costs no more than another."""
_LONGEST_PIECE = 16

# RE2. Blanks are also control characters, zero-width spaces, byte order marks and "▁" itself.
_BLANKS = r"[\s\p{Z}\p{Cc}\x{200B}\x{FEFF}▁]+"
_LETTER = r"[^\P{L}\p{Han}]"
_LETTERS = rf"{_LETTER}(?:{_LETTER}|[\p{{M}}\p{{Cf}}])*"
_WORD = "▁?(?:" + "|".join(
    [
        r"\p{Han}\p{M}*",
        rf"{_LETTERS}(?:['’]{_LETTERS})*",  # don't, l'homme
        r"[^\P{N}\p{Han}]+",
        r"[^\p{L}\p{N}\p{Han}▁]+",  # punctuation, emoji with what modifies and joins them
    ]
) + ")"  # fmt: skip

Encode = Callable[[tf.Tensor], tf.RaggedTensor]


def learn(texts: Iterable[str | bytes], size: int, *, lowercase: bool) -> list[str]:
    """Learn pieces by byte-pair encoding (Sennrich et al., 2016; SentencePiece's implementation).

    Args:
        texts: to learn from.
        size: at most that many pieces, special ones included.
        lowercase: whether upper and lower case are the same.

    Returns:
        The special pieces, then the learnt ones, those that the texts use most first. The same texts in any order
        give the same pieces.
    """
    if size < 2 * len(SPECIAL):
        raise ValueError(f"{size} pieces are too few: at least {2 * len(SPECIAL)}.")
    counts = _count_words(texts, lowercase)
    alphabet = _alphabet(counts, (size - len(SPECIAL)) * 3 // 4)
    known: Counter[str] = Counter()
    for word, count in counts.items():
        for part in "".join(sign if sign in alphabet else " " for sign in word).split():
            known[part] += count
    learnt = _train(known, size - len(SPECIAL)) - {START_OF_WORD}
    return [*SPECIAL, *_by_use([*sorted(learnt)[: size - len(SPECIAL) - 1], START_OF_WORD], known)]


def encoder(pieces: Sequence[str], *, lowercase: bool) -> Encode:
    """The graph from strings [n] to tokens int32 [n, ragged], no special ones added.

    Bytes that are no UTF-8 count as U+FFFD. Characters that no piece begins with are [UNK], one for a run of them.

    Args:
        pieces: as `learn` gives them.
        lowercase: as they were learnt.
    """
    trie = _trie(pieces, lowercase)

    def encode(strings: tf.Tensor) -> tf.RaggedTensor:
        with tf.device("CPU:0"):
            found = _words(strings)
            unique, place = tf.unique(found.values)
            tokens = tf.gather(_match(trie, unique), place)
            splits = tf.gather(tokens.row_splits, found.row_splits)
            return tf.RaggedTensor.from_row_splits(tokens.values, splits, validate=False)

    return encode


def decode(pieces: Iterable[str]) -> str:
    """The text that pieces were found in, blanks made one and special pieces left out."""
    return "".join(piece for piece in pieces if piece not in SPECIAL).replace(START_OF_WORD, " ").strip(" ")


def fold(word: str) -> str:
    """Lower case, character by character, so that it keeps its length and is the same under every locale."""
    return word.lower() if word.isascii() else "".join(sign.lower()[0] for sign in word)


def _words(strings: tf.Tensor) -> tf.RaggedTensor:
    """strings [n] -> words [n, ragged]. A text that holds none has one empty word."""
    text = tf.strings.unicode_transcode(strings, "UTF-8", "UTF-8", errors="replace")
    text = tf.strings.regex_replace(tf.strings.join([START_OF_WORD, text]), _BLANKS, START_OF_WORD)
    text = tf.strings.regex_replace(text, f"{START_OF_WORD}$", "")
    return tf.strings.split(tf.strings.regex_replace(text, _WORD, r"\0 "), " ")


@dataclass(frozen=True)
class _Trie:
    """The pieces as a tree of symbols. Nodes are numbered level by level, so that the sorted edges lead to 1, 2, 3 …"""

    signs: np.ndarray
    """int32 [known]: code points, sorted."""
    symbols: np.ndarray
    """int64 [known]: what each stands for, from 2 on; upper and lower case may be the same. 1 is any other sign."""
    edges: np.ndarray
    """int64 [edges]: node * `width` + symbol, sorted; edge i leads to node i + 1."""
    tokens: np.ndarray
    """int32 [nodes]: the piece that ends at each, or -1."""
    width: int


def _trie(pieces: Sequence[str], lowercase: bool) -> _Trie:
    ids = {piece: token for token, piece in enumerate(pieces) if token >= len(SPECIAL)}
    symbol = {sign: place + 2 for place, sign in enumerate(sorted(set("".join(ids))))}
    width = len(symbol) + 2
    starts = sorted({piece[:end] for piece in ids for end in range(1, len(piece) + 1)}, key=lambda s: (len(s), s))
    node = {"": 0} | {start: place + 1 for place, start in enumerate(starts)}
    folded = {sign: symbol[low] for sign, low in _lower_case().items() if low in symbol} if lowercase else {}
    signs = sorted((folded | symbol).items())
    return _Trie(
        signs=np.array([ord(sign) for sign, _ in signs], np.int32),
        symbols=np.array([found for _, found in signs], np.int64),
        edges=np.array([node[start[:-1]] * width + symbol[start[-1]] for start in starts], np.int64),
        tokens=np.array([-1, *(ids.get(start, -1) for start in starts)], np.int32),
        width=width,
    )


@lru_cache(maxsize=1)
def _lower_case() -> dict[str, str]:
    """Each character that has a lower case."""
    signs = map(chr, range(0x1F000))
    return {sign: fold(sign) for sign in signs if fold(sign) != sign}


def _match(trie: _Trie, words: tf.Tensor) -> tf.RaggedTensor:
    """strings [words] -> tokens int32 [words, ragged]."""
    letters = tf.strings.unicode_decode(words, "UTF-8")
    count = tf.shape(letters.values, tf.int64)
    cuts = tf.ragged.range(letters.row_starts(), letters.row_limits(), LONGEST_WORD)
    parts = tf.RaggedTensor.from_row_splits(letters.values, tf.concat([cuts.values, count], 0), validate=False)
    # The parts of all words in one row, each with a 0 after it, at which every path down the tree ends.
    places = tf.range(count[0]) + parts.value_rowids()
    symbols = tf.scatter_nd(places[:, None], _symbols(trie, letters.values), count + parts.nrows())
    firsts = parts.row_splits + tf.range(parts.nrows() + 1)
    tokens, lengths = _longest(trie, symbols)
    used = _walk(symbols, lengths, firsts[:-1])
    unknown = used & (tokens == UNKNOWN)
    used &= ~(unknown & tf.concat([[False], unknown], 0)[:-1])
    before = tf.concat([[0], tf.cumsum(tf.cast(used, tf.int64))], 0)
    splits = tf.gather(before, tf.gather(firsts, cuts.row_splits))
    return tf.RaggedTensor.from_row_splits(tf.boolean_mask(tokens, used), splits, validate=False)


def _symbols(trie: _Trie, signs: tf.Tensor) -> tf.Tensor:
    """Code points int32 [n] -> symbols int64 [n]."""
    place = tf.minimum(tf.searchsorted(trie.signs, signs), len(trie.signs) - 1)
    return tf.where(tf.gather(trie.signs, place) == signs, tf.gather(trie.symbols, place), 1)


def _longest(trie: _Trie, symbols: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Token int32 [n] and length int64 [n] of the longest piece that begins at each place; [UNK] and 1 where none does.

    All places go down the tree together; those whose path ends drop out.
    """

    def down(
        depth: tf.Tensor, place: tf.Tensor, node: tf.Tensor, tokens: tf.Tensor, lengths: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        edge = node * trie.width + tf.gather(symbols, place + depth)
        child = tf.minimum(tf.searchsorted(trie.edges, edge, out_type=tf.int64), len(trie.edges) - 1)
        is_there = tf.gather(trie.edges, child) == edge
        place, node = tf.boolean_mask(place, is_there), tf.boolean_mask(child + 1, is_there)
        token = tf.gather(trie.tokens, node)
        ends = tf.boolean_mask(place, token >= 0)[:, None]
        tokens = tf.tensor_scatter_nd_update(tokens, ends, tf.boolean_mask(token, token >= 0))
        lengths = tf.tensor_scatter_nd_update(lengths, ends, tf.fill(tf.shape(ends)[:1], depth + 1))
        return depth + 1, place, node, tokens, lengths

    place = tf.where(symbols > 1)[:, 0]
    nothing = tf.fill(tf.shape(symbols), UNKNOWN), tf.ones_like(symbols)
    state = (tf.constant(0, tf.int64), place, tf.zeros_like(place), *nothing)
    shapes = (tf.TensorShape([]), *[tf.TensorShape([None])] * 4)
    *_, tokens, lengths = tf.while_loop(lambda _, place, *__: tf.size(place) > 0, down, state, shapes)
    return tokens, lengths


def _walk(symbols: tf.Tensor, lengths: tf.Tensor, firsts: tf.Tensor) -> tf.Tensor:
    """bool [n]: the places where a token begins, when each part is gone through from its first place on."""

    def on(place: tf.Tensor, used: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        place = tf.boolean_mask(place, tf.gather(symbols, place) > 0)
        used = tf.tensor_scatter_nd_update(used, place[:, None], tf.ones_like(place, tf.bool))
        return place + tf.gather(lengths, place), used

    state = firsts, tf.zeros_like(symbols, tf.bool)
    shapes = tf.TensorShape([None]), tf.TensorShape([None])
    return tf.while_loop(lambda place, _: tf.size(place) > 0, on, state, shapes)[1]


def _count_words(texts: Iterable[str | bytes], lowercase: bool) -> Counter[str]:
    """How often each word occurs; long ones are cut as they are in encoding."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def count(strings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.device("CPU:0"):
            unique, _, counts = tf.unique_with_counts(_words(strings).values)
            return unique, counts

    totals: Counter[bytes] = Counter()
    for part in chunks(texts):
        for word, number in zip(*(found.numpy().tolist() for found in count(tf.constant(part))), strict=True):
            totals[word] += number
    folded: Counter[str] = Counter()
    for word, number in totals.items():
        signs = fold(word.decode()) if lowercase else word.decode()
        for start in range(0, len(signs), LONGEST_WORD):
            folded[signs[start : start + LONGEST_WORD]] += number
    return folded


def _alphabet(counts: Counter[str], most: int) -> set[str]:
    """The signs that become pieces, the frequent ones. Of those seen once nothing could be learnt; they are what
    [UNK] is learnt from."""
    signs: Counter[str] = Counter()
    for word, count in counts.items():
        for sign in word:
            signs[sign] += count
    del signs[_RESERVED]
    often = sorted((sign for sign, count in signs.items() if count > 1), key=lambda sign: (-signs[sign], sign))
    return set(often[:most])


_RESERVED = "\u2585"
"""SentencePiece's own sign for what it does not know: it skips words that hold it."""


def _train(counts: Counter[str], size: int) -> set[str]:
    """At most that many pieces, by SentencePiece; fewer where the words give no more."""
    if not counts:
        return set()
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(f"{word}\t{count}" for word, count in sorted(counts.items())),
        input_format="tsv",
        model_writer=written,
        model_type="bpe",
        vocab_size=size + 1,  # with its own unknown piece
        hard_vocab_limit=False,
        character_coverage=1.0,
        max_sentencepiece_length=_LONGEST_PIECE,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_by_unicode_script=False,
        split_by_number=False,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    return {model.id_to_piece(token) for token in range(1, model.get_piece_size())}


def _by_use(learnt: Sequence[str], counts: Counter[str]) -> list[str]:
    """The pieces, those first that the words use most."""
    pieces = [*SPECIAL, *learnt]
    trie = _trie(pieces, lowercase=False)
    match = tf.function(lambda words: _match(trie, words), autograph=False)
    uses = np.zeros(len(pieces), np.int64)
    words = list(counts)
    for start in range(0, len(words), 1 << 16):
        some = words[start : start + (1 << 16)]
        tokens = match(tf.constant(some))
        times = np.repeat(np.array([counts[word] for word in some]), tokens.row_lengths().numpy())
        np.add.at(uses, tokens.values.numpy(), times)
    order = sorted(range(len(SPECIAL), len(pieces)), key=lambda token: (-uses[token], pieces[token]))
    return [pieces[token] for token in order]
