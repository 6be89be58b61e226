"""How translation is judged: BLEU, chrF, exact matches, lengths, perplexity; by length. The baselines and the figures
lie beside.

`Record.answer["translation"]` is the text that is scored; `Record.output` holds float64 [2], the negative
log-probability of the reference in all and its pieces, where a model gave them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines import scoring
from pipelines.task import Assets, Raw, Record, Scores
from tasks.translation import measures
from tasks.translation.config import Config


def targets(references: Raw, assets: Assets) -> list[Any]:
    """The given translation of each sentence."""
    del assets
    return list(references["target"])


def score(records: Sequence[Record], references: Raw, config: Config, assets: Assets) -> Scores:
    """BLEU (the headline) of cased, detokenised text and without regard to case, chrF, TER if asked for, the share of
    exact matches, the length of the translations over that of the references in letters, and perplexity by piece where
    it is known; their intervals from resampling sentences. By length of the source.

    Raises:
        DataError: there is nothing to score, or a record has no translation.
    """
    found = scoring.texts_of(records, "translation", len(references["target"]), "sentence")
    given = list(references["target"])
    counted = {
        "bleu": measures.bleu(found, given),
        "bleu_lowercase": measures.bleu(found, given, lowercase=True),
        "chrf": measures.chrf(found, given),
        **({"ter": measures.ter(found, given)} if config.ter else {}),
    }
    exact = np.array([one == other for one, other in zip(found, given, strict=True)], np.float64)
    columns = {name: one.counts for name, one in counted.items()}
    columns |= {"exact_match": exact, "length_ratio": _lengths(found, given)}
    statistics = {name: one.of_means for name, one in counted.items()} | {"length_ratio": _ratio}
    if (sums := _likelihoods(records)) is not None:
        columns["perplexity"] = sums
        statistics["perplexity"] = _perplexity
    resampled = scoring.resample(columns, scoring.SEED, statistics)
    breakdowns: dict[str, Any] = {
        "signatures": {scoring.label(name): {"signature": one.signature} for name, one in counted.items()},
        "length": _by_length(counted, exact, references["tokens"]),
        "copied": _copied(records, references),
    }
    scores = {name: one.interval for name, one in resampled.items()}
    return Scores("bleu", scores, breakdowns, scoring.drawn_of(resampled))


def _lengths(found: Sequence[str], given: Sequence[str]) -> np.ndarray:
    return np.array([[len(one), len(other)] for one, other in zip(found, given, strict=True)], np.float64)


def _ratio(means: np.ndarray) -> np.ndarray:
    return np.asarray(means[:, 0] / np.maximum(means[:, 1], 1e-300))


def _likelihoods(records: Sequence[Record]) -> np.ndarray | None:
    """float64 [sentences, 2]; None where they are not known of all."""
    outputs = [record.output for record in records if record.output is not None]
    return np.stack(outputs).astype(np.float64) if len(outputs) == len(records) else None


def _perplexity(means: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(means[:, 0] / np.maximum(means[:, 1], 1e-300)))


def _by_length(counted: Mapping[str, measures.Counted], exact: np.ndarray, tokens: np.ndarray) -> dict[str, Any]:
    """Rows for a table, by the pieces of the source."""
    rows = {}
    for name, part in scoring.quarters(tokens, "pieces").items():
        figures = {metric: round(counted[metric].part(part).value, 2) for metric in ("bleu", "chrf")}
        rows[name] = {"examples": len(part), **figures, "exact_match": float(exact[part].mean())}
    return rows


def _copied(records: Sequence[Record], references: Raw) -> dict[str, Any]:
    """Rows for a table: how many sentences came back as they were, and how many lost a number, an address or a
    placeholder."""
    same = sum(
        str(record.answer["translation"]).strip() == source.strip()
        for record, source in zip(records, references["source"], strict=True)
    )
    losing = sum(bool(record.answer.get("lost")) for record in records)
    return {
        "translation equal to the source": {"examples": same},
        "a number, address or placeholder lost": {"examples": losing},
    }
