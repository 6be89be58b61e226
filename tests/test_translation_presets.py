"""KerasHub's networks that read one text and write another: trained, kept and searched as our own are, with their own
tokenizers."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from pipelines import devices, evaluate, predict, run
from pipelines.artefact import load_model
from pipelines.devices.settings import StepSettings
from pipelines.devices.steps import kept_model
from pipelines.engine import resume
from pipelines.errors import ConfigError, DataError
from pipelines.preparation import make_optimizer
from pipelines.runs import Run
from pipelines.saved_model import save_served
from pipelines.task import Built
from pipelines.text.ids import Ids
from pipelines.transfer.loading import take_weights
from pipelines.transfer.pair_presets import pair_tokenizer
from tasks.translation.config import Config
from tasks.translation.data.stores import as_column
from tasks.translation.decoding import Decoder
from tasks.translation.encoding import encode
from tasks.translation.implied import imply
from tasks.translation.model import build_model
from tasks.translation.prediction import predictor
from tasks.translation.serving import serving
from tasks.translation.vocabulary import preset_asset, vocabulary
from tests.conftest import stopped_at
from tests.test_translation_serving import serve

# KerasHub 0.32 leaves the files of SentencePiece open; its T5 hands its padding on to layers that do not know of masks,
# beside the one that they are given.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*was passed an input with a mask attached to it"),
]
IDS = {
    "T5": {"pad": 0, "unknown": 2, "start": 0, "end": 1},
    "Bart": {"pad": 1, "unknown": 3, "start": 0, "end": 2, "before": 2, "first": 0},
    "T5Gemma": {"pad": 0, "unknown": 3, "start": 2, "end": 1, "size": 37},
}
SHAPE = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
_SIDE = {
    **{"hidden_dim": 8, "intermediate_dim": 16, "num_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1},
    **{"head_dim": 4, "layer_types": ["sliding_attention", "full_attention"]},
}
SHAPES: dict[str, dict[str, Any]] = {
    "T5": SHAPE,
    "Bart": {**SHAPE, "max_sequence_length": 24},
    "Bert": SHAPE,
    "T5Gemma": {
        **{f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in _SIDE.items()},
        **{"query_pre_attn_scalar": 4, "sliding_window": 3, "final_logit_softcapping": 5.0},
    },
}
ONES = ["one", "two", "three", "four", "five", "six", "seven"]
EINS = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben"]
WORDS = [*ONES, *EINS]
FAMILIES = ["T5", "Bart", "T5Gemma"]


def saved(folder: Path, family: str, size: int = 40, layers: int = 2) -> Path:
    """A preset with weights that tell pieces apart."""
    hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    shape = {name: layers if name.endswith("num_layers") else value for name, value in SHAPES[family].items()}
    network = getattr(hub.models, f"{family}Backbone")(vocabulary_size=size, **shape)
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign(random.normal(0, 0.5, variable.shape))
    network.save_to_preset(str(folder))
    return folder


def tokenizer_of(family: str) -> Any:
    """KerasHub's, of a few pieces."""
    hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    build = getattr(hub.models, f"{family}Tokenizer")
    if family == "Bart":
        from keras_hub.src.tokenizers.byte_pair_tokenizer import bytes_to_unicode

        signs = dict(zip(*bytes_to_unicode(), strict=True))
        spelt = [[signs[bytes([byte])] for byte in f"{blank}{word}".encode()] for word in WORDS for blank in ("", " ")]
        merges = [f"{''.join(word[:end])} {word[end]}" for word in spelt for end in range(1, len(word))]
        merges = list(dict.fromkeys(merges))
        pieces = ["<s>", "<pad>", "</s>", "<unk>", *signs.values(), *(one.replace(" ", "") for one in merges)]
        return build(vocabulary={piece: place for place, piece in enumerate(pieces)}, merges=merges)
    import sentencepiece

    own: dict[str, Any] = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    if family == "T5Gemma":
        own = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "bos_piece": "<bos>", "eos_piece": "<eos>"}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS)] * 5),
        model_writer=model,
        vocab_size=48,
        model_type="bpe",
        hard_vocab_limit=False,
        minloglevel=2,
        **own,
    )
    return build(proto=model.getvalue())


def preset(folder: Path, family: str, layers: int = 2) -> Path:
    """The same with a tokenizer; T5's table of embeddings has more rows than there are pieces, as the real one's."""
    tokenizer = tokenizer_of(family)
    saved(folder, family, tokenizer.vocabulary_size() + 5 * (family == "T5"), layers)
    tokenizer.save_to_preset(str(folder))
    return folder


def table(folder: Path) -> Path:
    """Pairs of two numbers."""
    lines = [f"{ONES[a]} {ONES[b]}\t{EINS[a]} {EINS[b]}" for a in range(7) for b in range(5)]
    (folder / "pairs.tsv").write_text("\n".join(["english\tdeutsch", *lines, ""]), "utf-8")
    return folder / "pairs.tsv"


def translator(folder: Path, source: Path, **more: Any) -> Any:
    """A short run."""
    settings: dict[str, Any] = {"epochs": 1, "max_tokens": 8, "beams": 2, "batch_size": 16, "split": "0.7 0.15 0.15"}
    columns = {"source": "english", "target": "deutsch"}
    data = str(table(folder.parent))
    settings |= {"data": data, "columns": columns, "pretrained": str(source), "run_dir": str(folder)}
    return run("translation", **{**settings, **more})


def built_from(folder: Path, family: str) -> tuple[Built, Config, dict[str, Any]]:
    config = Config(backbone="preset", pretrained=str(folder), label_smoothing=0.0)
    assets = {"ids": IDS[family]}
    built = build_model(config, assets)
    origin = take_weights(built, str(folder), assets, lambda line: None)
    assert not origin.new
    return built, config, assets


def filled(rows: list[list[int]], pad: int) -> np.ndarray:
    longest = max(map(len, rows))
    return np.array([[*row, *[pad] * (longest - len(row))] for row in rows], np.int32)


@pytest.mark.parametrize("family", ["T5", *(pytest.param(one, marks=pytest.mark.slow) for one in FAMILIES[1:])])
def test_a_run_from_a_preset(family: str, tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", family, layers=1)
    result = translator(tmp_path / "run", folder, source_prefix="two:" if family == "T5" else None)
    kept = Run(tmp_path / "run")
    manifest = kept.manifest()
    assert manifest["model"]["name"] == f"{family}Backbone"
    assert (manifest["pretrained"]["kind"], manifest["pretrained"]["new"]) == ("preset", [])
    assert "backbone: preset\n" in kept.settings.read_text("utf-8")
    assert set(kept.read_json("model/vocabulary.json")["joint"]) >= {"class", "proto" if family != "Bart" else "merges"}
    assert result.metrics["scores"]["perplexity"]["value"] > 1
    parity = kept.read_json("export/parity.json")["saved_model"]
    assert parity["examples"] == kept.read_json("metrics.json")["examples"]
    assert parity["largest_difference"] < 1e-4
    lines = [json.loads(line) for line in (kept.path / "predictions.jsonl").read_text("utf-8").splitlines()]
    (tmp_path / "again.txt").write_text("one two\n\nseven\n", "utf-8")
    again = list(predict(kept.path, [tmp_path / "again.txt"], n_best=2))
    assert [len(one["n_best"]) for one in again] == [2, 0, 2]
    assert again[1]["translation"] == ""
    assert all(isinstance(one["translation"], str) and np.isfinite(one["score"]) for one in [*lines, *again])
    shutil.rmtree(folder)  # the run holds the tokenizer too
    assert evaluate(kept.path)["scores"] == kept.read_json("metrics.json")["scores"]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_model_sees_is_what_kerashub_packs(family: str, tmp_path: Path) -> None:
    import keras_hub

    tokenizer = tokenizer_of(family)
    found = pair_tokenizer(str(preset(tmp_path, family, layers=1)))
    assets = {"ids": found.ids, "vocabulary": preset_asset(found.asset, lowercase=False, prefix="")}
    words = vocabulary(assets)
    texts = {"source": ["one two", "seven"], "target": ["eins zwei", "fünf"]}
    raw: dict[str, Any] = {}
    for side, cutter in (("source", words.source), ("target", words.target)):
        values, lengths = cutter.cut(texts[side])
        assert cutter.encode(texts[side]) == [part.tolist() for part in np.split(values, np.cumsum(lengths)[:-1])]
        assert cutter.decode(cutter.encode(texts[side])) == texts[side]
        raw |= {side: tf.constant(values), f"{side}_splits": tf.constant(np.append(0, np.cumsum(lengths)))}
    x, y, weight = encode(Config(max_tokens=24), assets, True)(raw, None)
    length = x["source"].shape[1]
    packed = getattr(keras_hub.models, f"{family}Seq2SeqLMPreprocessor")(
        tokenizer, encoder_sequence_length=length, decoder_sequence_length=length + (family == "Bart")
    )
    theirs, wanted, counted = packed({"encoder_text": texts["source"], "decoder_text": texts["target"]})
    before = int(family == "Bart")  # what stands before the start is the network's affair
    np.testing.assert_array_equal(x["source"], theirs["encoder_token_ids"])
    written = np.asarray(theirs["decoder_token_ids"])[:, before:]
    np.testing.assert_array_equal(np.asarray(x["target"])[weight > 0], written[np.asarray(weight) > 0])
    np.testing.assert_array_equal(y, np.asarray(wanted)[:, before:])
    np.testing.assert_array_equal(weight > 0, np.asarray(counted)[:, before:] > 0)
    assert np.asarray(theirs["decoder_token_ids"])[:, :before].tolist() == [[2] * before] * 2


@pytest.mark.slow
def test_served_alone_they_translate_as_predict_does(tmp_path: Path) -> None:
    texts = ["One two", "", " \u200b ", "seven é İ </s>\u00a0狐", "two three four", "six " * 30]
    asked, records = {}, {}
    for family in FAMILIES:
        folder = preset(tmp_path / family, family, layers=1)
        found = pair_tokenizer(str(folder))
        vocabulary = preset_asset(found.asset, lowercase=family == "Bart", prefix="two:" if family == "T5" else "")
        assets = {"ids": found.ids, "vocabulary": vocabulary, "longest": 30}
        config = Config(backbone="preset", pretrained=str(folder), label_smoothing=0.0, beams=3, max_tokens=22)
        built = build_model(config, assets)
        take_weights(built, str(folder), assets, lambda line: None)
        network = kept_model(built)
        place = str(save_served(tmp_path / "served" / family, serving(network, config, assets)))
        asked[place] = [texts, []]
        raw = {"text": as_column([text.encode() for text in texts])}
        records[place] = list(predictor(network, config, assets, {})([([*"abcdef"], raw)]))
    # In one process: of two tables or models with one name the second would be the first.
    for place, ((found_texts, scores, cut), nothing) in serve(asked, tmp_path).items():
        assert nothing == [[], [], []]
        assert cut == [record.answer.get("parts", 1) > 1 for record in records[place]] == [False] * 5 + [True]
        assert found_texts[1:3] == ["", ""]
        for record, text, score in list(zip(records[place], found_texts, scores, strict=True))[:-1]:
            assert text == record.answer["translation"]
            assert score == pytest.approx(record.beside, abs=1e-4)


def test_a_prefix_stands_before_sources_alone(tmp_path: Path) -> None:
    asset = preset_asset(pair_tokenizer(str(preset(tmp_path, "T5", layers=1))).asset, lowercase=True, prefix="two:")
    words = vocabulary({"vocabulary": asset})
    bare = vocabulary({"vocabulary": {**asset, "prefix": ""}}).source
    assert words.source.encode(["One"]) == bare.encode(["two: one"])
    assert words.target.encode(["One"]) == bare.encode(["one"])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_preset_is_trained_kept_and_searched(family: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "preset", family)
    built, config, assets = built_from(folder, family)
    ids = Ids.of(assets)
    source = filled([[9, 10, 11, ids.end], [12, ids.end]], ids.pad)
    target = filled([[ids.start, 20, 21], [ids.start, 22]], ids.pad)
    network = kept_model(built)

    # As KerasHub has it, with the weights of the preset.
    import keras_hub

    theirs = getattr(keras_hub.models, f"{family}Seq2SeqLM")(keras_hub.models.Backbone.from_preset(str(folder)))
    given = {"encoder_token_ids": source, "encoder_padding_mask": (source != ids.pad).astype(np.int32)}
    written = target if ids.before is None else np.insert(target, 0, ids.before, axis=1)
    given |= {"decoder_token_ids": written, "decoder_padding_mask": np.ones_like(written)}
    ours = np.asarray(network({"source": source, "target": target}))
    wanted = np.asarray(theirs(given))[:, ids.before is not None :, : ids.size]
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-4)

    _learns(built, config, source, target, ids)
    network.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    x = {"source": source, "target": target}
    np.testing.assert_allclose(np.asarray(again(x)), np.asarray(network(x)), rtol=1e-4, atol=1e-4)
    _scores_are_those_of_the_whole(Decoder(again, config, ids), network, source, ids)


def _learns(built: Built, config: Config, source: np.ndarray, target: np.ndarray, ids: Ids) -> None:
    wanted = np.array([[20, 21, ids.end], [22, ids.end, ids.pad]], np.int32)
    weight = np.array([[1, 1, 1], [1, 1, 0]], np.float32)
    steps = devices.start(config).steps(built, make_optimizer(config, built.model), StepSettings(lengths=True))
    parts = ({"source": source, "target": target}, wanted, weight)
    block = tf.nest.map_structure(lambda part: tf.constant(part[None]), parts)
    found = [steps.train(block, np.full(1, 0.05, np.float32))[0] for _ in range(12)]
    assert found[-1] < 0.8 * found[0]


def _scores_are_those_of_the_whole(decoder: Decoder, network: Any, source: np.ndarray, ids: Ids) -> None:
    pieces, scores = decoder.translate(source, beams=3, n_best=3, limits=np.array([4, 5], np.int32))
    for row in range(2):
        for n in range(3):
            text = [piece for piece in pieces[row, n].tolist() if piece != ids.pad]
            x = {"source": source[row : row + 1], "target": np.array([[ids.start, *text, ids.pad]], np.int32)}
            each = log_softmax(np.asarray(network(x), np.float64), axis=-1)[0]
            total = sum(each[place, piece] for place, piece in enumerate([*text, ids.end]))
            assert scores[row, n] == pytest.approx(total / (len(text) + 1), abs=1e-4)
            assert not {ids.pad, ids.unknown, ids.start, ids.end} & set(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"unfreeze": "none"},
        {"unfreeze": "staged", "epochs": 3},
        {"unfreeze": "last:3"},
        {"lora_rank": 2},
    ],
)
def test_what_is_trained_and_a_warm_start(options: dict[str, Any], tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", "T5")
    translator(tmp_path / "a", folder, **options)
    manifest = Run(tmp_path / "a").manifest()
    trained, table_size = manifest["model"]["trainable"], (tokenizer_of("T5").vocabulary_size() + 5) * 8
    if options.get("unfreeze") == "staged":
        assert trained == manifest["model"]["parameters"]  # as the last stage has it
    else:
        assert 0 < trained < manifest["model"]["parameters"]
    if options == {"unfreeze": "none"}:
        assert trained == table_size
    if "lora_rank" in options:
        # Of each of 2 encoder layers 4 projections, of each decoder layer 8: two matrices of 8 x 2. Of the gated dense
        # layers 3 each, from 8 to 16 or back.
        assert trained == 24 * 2 * 16 + 4 * 3 * 2 * (8 + 16)
    translator(tmp_path / "b", tmp_path / "a")
    origin = Run(tmp_path / "b").manifest()["pretrained"]
    assert (origin["kind"], origin["resized"], origin["new"]) == ("run", [], [])


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", "Bart")
    whole = translator(tmp_path / "whole", folder, epochs=2)
    with stopped_at(5):
        translator(tmp_path / "run", folder, epochs=2)
    further = resume(tmp_path / "run", {}, [])
    assert further.metrics["scores"] == whole.metrics["scores"]
    assert (tmp_path / "run/predictions.jsonl").read_bytes() == (tmp_path / "whole/predictions.jsonl").read_bytes()
    # Not the file's bytes: Keras numbers the names of KerasHub's layers, and in one process these are further ones.
    ours, theirs = (load_model(Run(tmp_path / name))[0].get_weights() for name in ("run", "whole"))
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = preset(tmp_path / "preset", "Bart")
    with pytest.raises(ConfigError, match="BertBackbone, which does not read one text and write another"):
        imply(Config(pretrained=str(saved(tmp_path / "bert", "Bert"))))
    with pytest.raises(ConfigError, match="backbone gru and the preset .* leave backbone out"):
        imply(Config(pretrained=str(folder), backbone="gru"))
    with pytest.raises(ConfigError, match="max_tokens 24: .* takes 23 at most"):
        imply(Config(pretrained=str(folder), max_tokens=24))
    with pytest.raises(ConfigError, match="vocabulary_size 500: .* leave vocabulary_size out"):
        imply(Config(pretrained=str(folder), vocabulary_size=500))
    with pytest.raises(ConfigError, match="no-keep-pieces"):
        imply(Config(pretrained=str(folder), keep_pieces=False))
    with pytest.raises(ConfigError, match="source_prefix 'x' is for KerasHub presets"):
        imply(Config(source_prefix="x"))
    with pytest.raises(ConfigError, match="there is no file or folder"):
        translator(tmp_path / "run", tmp_path / "nothing")
    with pytest.raises(ConfigError, match="knows no preset of that name: did you mean t5_small_multi"):
        translator(tmp_path / "run", "t5_small_mult")
    config = imply(Config(pretrained=str(folder)))
    assert (config.backbone, config.max_tokens, config.learning_rate, config.epochs) == ("preset", 23, 5e-5, 3)
    with pytest.raises(ConfigError, match="a tokenizer of 1,000 pieces and a network of"):
        build_model(config, {"ids": {**IDS["Bart"], "size": 1_000}})
    (folder / "assets" / "tokenizer" / "merges.txt").unlink()
    with pytest.raises(DataError, match=r"cannot be opened .*it needs .*assets/tokenizer/"):
        translator(tmp_path / "run", folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"it needs .*tokenizer\.json"):
        translator(tmp_path / "run", folder)
