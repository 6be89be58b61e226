"""Text sentiment: answers, scores, the baseline, figures, and which words decided."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.feature_extraction.text import CountVectorizer

from pipelines import devices
from pipelines.config import load_config
from pipelines.errors import ConfigError, DataError
from pipelines.evaluation import predict_store
from pipelines.scoring import outcomes, softmax
from pipelines.task import Data, Figure, Passages, Record
from tasks.text_sentiment import answers, figures, scores
from tasks.text_sentiment import baseline as baselines
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.data.stores import Texts, TextStore, as_column
from tasks.text_sentiment.tokens import cut_in_words

BACKEND = os.environ.get("SIXFOLD_TEST_BACKEND", "tensorflow")
"""test_on_jax runs this file again in a process with the other backend."""
SST2 = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "sst2"
PIECES = ["[PAD]", "[UNK]", "[START]", "[END]", "▁"]
WORDS = ["a", "good", "bad", "film", "not", "great", "dull", "plot", "very", "so", "it", "was", "the", "and"]
TOKENIZER = {
    "kind": "subwords",
    "pieces": [*PIECES, *(f"▁{word}" for word in WORDS), ".", "!", "ly", *"abcdefghijklmnopqrstuvwxyz", "好", "坏"],
    "lowercase": True,
}
ASSETS = {"classes": ["negative", "positive"], "tokenizer": TOKENIZER}
UNUSUAL = [
    "Good film 👍🏽 👩‍👩‍👧!",
    "فيلم جيد good",
    "好坏 film 好",
    "  bad\tplot \n",
    "e\u0301 nul\0 zero\u200bwidth \ufeff",
    "\U0001f468" * 40,
    "x" * 3_000,
]


@pytest.fixture(autouse=True)
def _backend() -> None:
    devices.import_backend(BACKEND)


def config_of(**settings: Any) -> Any:
    options = {"max_tokens": 16, "embedding": 8, "width": 6, "heads": 2, "backend": BACKEND, **settings}
    return load_config("text-sentiment", options=options).config


class Lengths:
    """Tokens of whole texts, as a store knows them."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = np.array(lengths, np.int64)

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("neither the baseline nor the report sees tokens")


def store_of(texts: list[str], labels: list[int]) -> TextStore:
    column = as_column([text.encode() for text in texts])
    items = Texts(column, lambda row: f"reviews.csv line {row + 1}")
    lengths = Lengths([len(text.split()) for text in texts])
    return TextStore(items, np.arange(len(texts)), np.array(labels, np.int32), tokens=lengths)


def references(store: TextStore) -> dict[str, np.ndarray]:
    return {"label": store.label, "tokens": store.length}


def records(logits: np.ndarray) -> list[Record]:
    return [Record(f"line {index}", {}, row) for index, row in enumerate(np.asarray(logits, np.float32))]


def built(seed: int = 0, **settings: Any) -> tuple[keras.Model, Any]:
    from tasks.text_sentiment.model import build_model

    config = config_of(**settings)
    keras.utils.set_random_seed(seed)
    return build_model(config, ASSETS).model, config


# ---- answers and scores ----------------------------------------------------------------------------------------


def test_an_answer_holds_every_class() -> None:
    found = answers.answer(np.array([0.25, 0.75]), ["negative", "positive"])
    table = answers.table(Config(), {"classes": ["negative", "positive"]})
    assert table.columns == ("label", "probability", "probability_negative", "probability_positive")
    assert list(table.rows(Record("a", found))) == [
        {"label": "positive", "probability": 0.75, "probability_negative": 0.25, "probability_positive": 0.75}
    ]
    assert found == {
        "label": "positive",
        "probability": 0.75,
        "probabilities": {"negative": 0.25, "positive": 0.75},
    }
    assert scores.targets({"label": np.array([1, 0])}, ASSETS) == ["positive", "negative"]


@pytest.mark.parametrize(
    ("ordered", "classes", "expected"),
    [
        ("auto", ["1", "2", "3"], [1, 2, 3]),
        ("auto", ["10", "2.5", "-1"], [10, 2.5, -1]),
        ("auto", ["0", "1"], None),
        ("auto", ["1", "2", "nan"], None),
        ("auto", ["bad", "so-so", "good"], None),
        ("no", ["1", "2", "3"], None),
        ("yes", ["0", "1"], [0, 1]),
    ],
)
def test_which_labels_are_grades(ordered: str, classes: list[str], expected: list[float] | None) -> None:
    assert scores.grades(config_of(ordered=ordered), classes) == expected


def test_grades_that_are_words_are_refused() -> None:
    with pytest.raises(ConfigError, match="the class 'bad' is no number"):
        scores.grades(config_of(ordered="yes"), ["bad", "2", "3"])


def test_scores_of_two_classes_and_of_stars() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 400)
    tokens = random.integers(1, 90, 400)
    logits = random.normal(size=(400, 5))
    logits[np.arange(400), labels] += np.where(tokens > 45, 0, 9)
    stars = scores.score(records(logits), {"label": labels, "tokens": tokens}, config_of(), {"classes": list("12345")})
    assert stars.headline == "accuracy"
    assert set(stars.scores) == {
        *("accuracy", "macro_f1", "mcc", "quadratic_kappa", "log_loss", "ece", "ece_uncalibrated")
    }
    rows = stars.breakdowns["length"]
    assert sum(row["examples"] for row in rows.values()) == 400
    assert len(rows) == 4
    first, *_, last = rows.values()
    assert first["accuracy"]["value"] > 0.99
    assert last["accuracy"]["value"] < 0.5
    assert next(iter(rows)).startswith("1 to ")
    two = {"label": labels % 2, "tokens": tokens}
    assert "auc" in scores.score(records(logits[:, :2]), two, config_of(), ASSETS).scores


def test_texts_of_one_length_are_one_row() -> None:
    found = scores.score(records(np.eye(2)), {"label": np.arange(2), "tokens": np.array([7, 7])}, config_of(), ASSETS)
    assert list(found.breakdowns["length"]) == ["7 tokens"]


def test_calibration_and_what_cannot_be_scored() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(3000, 2))
    labels = (softmax(logits).cumsum(axis=1) < random.random((3000, 1))).sum(axis=1)
    assets = scores.calibrate(config_of(), ASSETS, records(logits * 4), {"label": labels})
    assert assets["temperature"] == pytest.approx(4, rel=0.15)
    with pytest.raises(DataError, match="1 texts have no score, first line 3: it is empty"):
        scores.score([Record("line 3", {}, None, "it is empty")], {"label": np.zeros(1, int)}, config_of(), ASSETS)


# ---- the baseline ----------------------------------------------------------------------------------------------


def sentences(count: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """'the plot was good and not dull', whose label is that of 'good' or 'bad'."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count).tolist()
    filler = [" ".join(random.choice(["the", "plot", "was", "so", "very", "film"], 5)) for _ in labels]
    return [f"{words} {'Good' if label else 'Bad'}!" for words, label in zip(filler, labels, strict=True)], labels


def data_of(texts: list[str], labels: list[int], classes: list[str] | None = None) -> Data:
    return Data({"train": store_of(texts, labels)}, {**ASSETS, "classes": classes or ASSETS["classes"]}, {}, "", "", {})


def test_the_baseline_learns_and_reads_texts_of_a_store_and_of_a_person() -> None:
    fitted = baselines.baseline(config_of(), data_of(*sentences(200)))
    test = store_of(*sentences(60, seed=1))
    found = predict_store(fitted.predictor, test, fitted.fetch)
    assert [record.id for record in found] == test.ids(np.arange(60))
    assert scores.score(found, references(test), config_of(), ASSETS).scores["accuracy"].value == 1
    (record,) = fitted.predictor([(["-"], {"text": as_column([b"so good"])})])
    assert record.answer["label"] == "positive"
    assert record.output is not None
    assert softmax(record.output).max() == pytest.approx(record.answer["probability"])
    assert "words and pairs of words and" in fitted.note


def test_letters_are_counted_as_scikit_learn_counts_them() -> None:
    texts = ["Not bad, not BAD at all", "a bad\nplot", "x y", "", "好坏 film 好坏 film"]
    letters = baselines.Letters()
    learnt = letters.learn(texts)
    theirs = CountVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit(texts)
    expected = theirs.transform(texts).toarray()
    expected = expected[:, expected.sum(axis=0) > 1]
    np.testing.assert_array_equal(np.sort(learnt.toarray(), axis=1), np.sort(expected, axis=1))
    np.testing.assert_array_equal(letters.counts(texts).toarray(), learnt.toarray())
    letters.most = 3
    frequent = letters.learn(texts).toarray().sum(axis=0)
    assert np.sort(frequent).tolist() == np.sort(expected.sum(axis=0))[-3:].tolist()


def test_words_are_signs_and_single_ideographs_too() -> None:
    words = baselines.Words()
    words.learn(["Good film!", "abc好坏 で"])
    assert set(words._vectorizer.get_feature_names_out()) == {
        *("good", "film", "!", "good film", "film !", "abc", "好", "坏", "で", "abc 好", "好 坏", "坏 で")
    }


@pytest.mark.parametrize("texts", [["", " ", "\n"], ["!", "?", "…"], UNUSUAL])
def test_the_baseline_takes_any_texts(texts: list[str]) -> None:
    labels = [index % 2 for index in range(len(texts))]
    fitted = baselines.baseline(config_of(), data_of(texts, labels))
    for batch in (texts, ["", "\t"], [UNUSUAL[0]]):
        found = list(fitted.predictor([(batch, {"text": as_column([text.encode() for text in batch])}), ([], {})]))
        assert len(found) == len(batch)
        assert all(record.output is not None and np.isfinite(record.output).all() for record in found)


def test_the_baseline_knows_classes_without_an_example_and_one_class_alone() -> None:
    texts, labels = sentences(40)
    (found,) = baselines.baseline(config_of(), data_of(texts, labels, ["a", "b", "c"])).predictor(
        [(["x"], {"text": as_column([b"good"])})]
    )
    assert found.output is not None
    assert found.output[2] == pytest.approx(np.log(1e-7))
    (alone,) = baselines.baseline(config_of(), data_of(texts, [1] * 40)).predictor(
        [(["x"], {"text": as_column([b"bad"])})]
    )
    assert alone.answer["label"] == "positive"


def test_the_baseline_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = sentences(100)
    monkeypatch.setattr(baselines, "_MOST_CHARACTERS", sum(map(len, texts)) // 2)
    monkeypatch.setattr(baselines.Words, "most", 5)
    note = baselines.baseline(config_of(baseline_iterations=1), data_of(texts, labels)).note
    assert "the 5 most frequent words and pairs of words" in note
    assert "of 100 training texts, chosen by the seed" in note
    assert "stopped at 1 iterations" in note


@pytest.mark.skipif(not SST2.exists(), reason="../shared/data/sst2 is absent")
@pytest.mark.slow
def test_the_baseline_is_strong_on_sst2() -> None:
    parts = {}
    for split in ("train", "test"):
        lines = (SST2 / f"{split}.tsv").read_text("utf-8").splitlines()
        rows = [line.rsplit("\t", 1) for line in lines]
        parts[split] = [text for text, _ in rows], [int(label) for _, label in rows]
    fitted = baselines.baseline(config_of(), data_of(*parts["train"]))
    test = store_of(*parts["test"])
    found = scores.score(predict_store(fitted.predictor, test, fitted.fetch), references(test), config_of(), ASSETS)
    assert found.scores["accuracy"].value > 0.82


# ---- figures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [["negative", "positive"], list("12345")])
def test_figures_of_usual_and_unusual_texts(classes: list[str]) -> None:
    random = np.random.default_rng(0)
    texts = [*UNUSUAL, *sentences(60)[0]]
    labels = random.integers(0, len(classes), len(texts))
    logits = random.normal(size=(len(texts), len(classes)))
    logits[np.arange(len(texts)), labels] += 1
    assets = {**ASSETS, "classes": classes, "temperature": 1.5}
    from tasks.text_sentiment.model import build_model

    config, store = config_of(), store_of(texts, labels.tolist())
    model = build_model(config, assets).model
    found = figures.figures(records(logits), references(store), config, assets, store, model)
    names = ["confusion_matrix", "reliability", "class_f1", "lengths", "mistakes", "attributions"]
    assert [figure.name for figure in found] == names
    for figure in found:
        if isinstance(figure, Figure):
            width, height = Image.open(io.BytesIO(figure.png)).size
            assert min(width, height) > 200
    mistakes, words = (figure for figure in found if isinstance(figure, Passages))
    wrong = int((logits.argmax(axis=1) != labels).sum())
    assert len(mistakes.passages) == min(wrong, 20)
    assert all(" → " in passage.heading for passage in mistakes.passages)
    assert all(len(passage.words[0][0]) <= 403 for passage in mistakes.passages)
    assert mistakes.legend is None
    assert words.legend is not None
    assert len(words.passages) == 8
    assert all(max(abs(value or 0) for _, value in one.words) == pytest.approx(1) for one in words.passages)


@pytest.mark.parametrize(
    ("long", "words"),
    [
        ("truncate-tail", "14 of a text at most (truncate-tail): 50.0% of the texts are cut, and 27.3% of all tokens"),
        ("windows", "28 of a text at most: none is cut"),
    ],
)
def test_the_caption_says_how_much_is_lost(long: str, words: str) -> None:
    config = config_of(long=long, max_windows=2)
    figure = figures._lengths(np.array([10, 10, 20, 26, 10, 12]), config, ASSETS) if long == "windows" else None
    figure = figure or figures._lengths(np.array([10, 20, 10, 26]), config, ASSETS)
    assert words in figure.caption


def test_what_is_cut_of_a_split_is_said_in_words() -> None:
    whole = np.array([10, 20, 30, 40])
    assert cut_in_words(whole, whole) == "none"
    assert cut_in_words(whole, np.minimum(whole, 25)) == "2 texts (50.0%), 20 tokens (20.0% of all)"


def test_the_surest_answers_are_explained_readable_ones_first() -> None:
    logits = np.array([[9, 0], [5, 0], [0, 7], [0, 3], [4, 0], [8, 0]], np.float32)
    labels, tokens = np.array([0, 0, 0, 0, 1, 0]), np.array([500, 5, 5, 5, 5, 0])
    assert figures.telling(outcomes(logits, labels), labels, tokens).tolist() == [1, 0, 2, 4, 3]


def test_every_class_is_explained_before_a_second_answer_of_one() -> None:
    logits = np.array([[9, 0], [8, 0], [7, 0], [6, 0], [0, 5], [0, 4], [5, 0], [4, 0]], np.float32)
    labels, tokens = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.full(8, 5)
    assert figures.telling(outcomes(logits, labels), labels, tokens).tolist() == [0, 4, 1, 5, 6, 7]


def test_a_mistake_says_where_it_stands() -> None:
    assert figures._short_place("data/reviews.csv line 7") == "reviews.csv line 7"
    assert figures._short_place(f"a/{'x' * 300}end.txt").endswith("xend.txt")
    assert len(figures._short_place(f"a/{'x' * 300}end.txt")) == 60


def test_long_mistakes_keep_both_ends() -> None:
    text = figures._shortened(f"Begin {'x ' * 3000} end")
    assert text.startswith("Begin x")
    assert text.endswith("x end")
    assert " … " in text


# ---- which words decided ---------------------------------------------------------------------------------------


def explain(text: str, model: keras.Model, config: Any, output: int = 1) -> Any:
    from tasks.text_sentiment import attributions

    return attributions.explain(model, [(text, output)], config, ASSETS)[0]


def weighing(words: dict[str, float], **settings: Any) -> tuple[keras.Model, Any]:
    """A bag of words whose second logit is the mean of what each word weighs, from START to END."""
    model, config = built(backbone="bag", dropout=0.0, embedding=4, **settings)
    table = np.zeros((len(TOKENIZER["pieces"]), 4))
    for word, weight in words.items():
        table[TOKENIZER["pieces"].index(word), 0] = weight
    model.get_layer("pieces").set_weights([table])
    model.get_layer("logits").set_weights([np.eye(4)[:, :2] * [[0, 0]] + np.eye(4, 2, 1), np.zeros(2)])
    return model, config


def test_words_get_what_they_weigh() -> None:
    model, config = weighing({"▁good": 4.0, "▁bad": -2.0, "ly": -1.0})
    found = explain(" Good film ,  badly\nplot", model, config)
    values = [(word, round(value, 5)) for word, value in found.words]
    assert values == [(" Good", 1.0), (" film", 0.0), (" ,", 0.0), ("  badly", -0.75), ("\nplot", 0.0)]
    assert found.missing < 1e-4
    assert found.steps == 32
    against = explain("good film badly", model, config, output=0)
    assert [round(value, 5) for _, value in against.words] == [-1, 0, 0.75]


@pytest.mark.parametrize(
    ("long", "seen"),
    [
        ("truncate-tail", [*range(6)]),
        ("truncate-head", [*range(4, 10)]),
        ("head-tail", [0, 5, 6, 7, 8, 9]),
        ("windows", [*range(10)]),
    ],
)
def test_what_is_cut_off_is_told_from_what_says_nothing(long: str, seen: list[int]) -> None:
    model, config = weighing({"▁good": 1.0}, long=long, max_tokens=8, max_windows=3)
    found = explain("good film " * 5, model, config)
    assert [index for index, (_, value) in enumerate(found.words) if value is not None] == seen
    assert [word for word, _ in found.words] == ["good", " film", *[" good", " film"] * 4]
    for word, value in (found.words[index] for index in seen):
        assert value == pytest.approx(1.0 if "good" in word else 0.0, abs=1e-6 if long != "windows" else 0.5)


@pytest.mark.parametrize("backbone", ["cnn", "bag", "bilstm", "bigru", "transformer"])
def test_the_shares_add_up_in_every_network(backbone: str) -> None:
    from tasks.text_sentiment import attributions

    model, config = built(backbone=backbone)
    # Larger weights than a new network has, so that its slopes are not all alike.
    model.get_layer("pieces").set_weights([20 * model.get_layer("pieces").get_weights()[0]])
    texts = [("good film, very dull plot!", 1), ("not bad", 0)]
    for one in attributions.explain(model, texts, config, ASSETS):
        assert one.missing <= 0.03
        assert len({value for _, value in one.words}) > 1
    logits = devices.forward(model)(np.array([[2, 7, 8, 3]], np.int32))
    assert logits.shape == (1, 2)  # as it was: its embedding is itself again


SMALL = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16, "max_sequence_length": 24}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("BertBackbone", {}),
        ("RobertaBackbone", {}),
        ("DistilBertBackbone", {}),
        ("ElectraBackbone", {"embedding_dim": 6}),
        ("AlbertBackbone", {"embedding_dim": 6}),
        ("DebertaV3Backbone", {"bucket_size": 8}),
        ("XLMRobertaBackbone", {}),
    ],
)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_embeddings_inside_published_networks_are_found(family: str, more: dict[str, Any], policy: str) -> None:
    hub = pytest.importorskip("keras_hub", reason="KerasHub is an extra")
    from tasks.text_sentiment import attributions

    size = {"vocab_size" if family == "ElectraBackbone" else "vocabulary_size": 40}
    keras.utils.set_random_seed(0)
    network = getattr(hub.models, family)(**SMALL, **size, **more, dtype=policy)
    tokens = keras.Input((None,), dtype="int32")
    mask = keras.ops.cast(tokens != 0, "int32")
    given = {"token_ids": tokens, "padding_mask": mask, "segment_ids": keras.ops.zeros_like(tokens)}
    x = network({name: given[name] for name in network.input})
    x = x["sequence_output"] if isinstance(x, dict) else x
    model = keras.Model(tokens, keras.layers.Dense(3, dtype="float32")(x[:, 0]))
    x = np.array([[2, 11, 12, 13, 3, 0, 0, 0]], np.int32)
    gradients = attributions.gradients_of(model, x)
    assert gradients is not None
    values, _, missing = attributions.integrate(gradients, x, np.array([[2, 0, 0, 0, 3, 0, 0, 0]], np.int32), 2)
    assert missing < (0.02 if policy == "float32" else 0.1)
    assert np.flatnonzero(values[0]).tolist() == [1, 2, 3]


def test_a_model_without_embeddings_of_tokens_is_not_explained() -> None:
    from tasks.text_sentiment import attributions

    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(99, 4)(keras.ops.minimum(tokens, 5))
    model = keras.Model(tokens, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(x)))
    assert attributions.explain(model, [("good", 1)], config_of(), ASSETS) == []


def test_every_character_of_a_text_stands_in_its_words() -> None:
    from pipelines.text.tokenizers import tokenizer
    from tasks.text_sentiment.attributions import split

    words = tokenizer(TOKENIZER)
    for text in UNUSUAL:
        parts = split(text, words)
        assert "".join(word for word, _ in parts).split() == text.split()
        assert [token for _, tokens in parts for token in tokens] == words.encode([text])[0].numpy().tolist()
    assert [word for word, _ in split("好坏 film 好", words)] == ["好", "坏", " film", " 好"]
    assert [word for word, _ in split("Good 👩‍👩‍👧!", words)] == ["Good", " 👩‍👩‍👧!"]
    assert [word for word, _ in split("好 Not好日日!坏", words)] == ["好", " Not", "好", "日", "日", "!", "坏"]
    assert len(split("好" * 30, words)) == 30
    long = [word for word, _ in split(" " + "ly" * 20, words)]
    assert "".join(long) == " " + "ly" * 20
    assert [word for word, _ in split("好" * 100_000, words)] == ["好" * 100_000]
    assert max(map(len, long)) == 3


def test_pieces_stand_in_for_words_where_the_tokens_are_others() -> None:
    from dataclasses import replace

    from pipelines.text.tokenizers import tokenizer
    from tasks.text_sentiment.attributions import split

    words = tokenizer(TOKENIZER)
    ragged = words.encode(["good film"])
    stubborn = replace(words, encode=lambda texts: ragged if len(texts) == 1 else words.encode(["bad"] * len(texts)))
    assert split("good film !", stubborn) == [(" good", [6]), (" film", [8])]


@pytest.mark.skipif(BACKEND == "jax", reason="this is the run on JAX")
@pytest.mark.slow
def test_on_jax(again_on_jax: Callable[[str], None]) -> None:
    again_on_jax("words_get or windows or bigru or transformer or without_embeddings")
