"""What the served recommender is asked of the examples of a split, and its answers as records."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.task import Assets, Raw, Record, Store
from tasks.recommendation.backbones import TAKEN
from tasks.recommendation.config import SEQUENTIAL, Config
from tasks.recommendation.data import seen
from tasks.recommendation.data.log import Lists
from tasks.recommendation.encoding import histories

_ITEMS_AT_ONCE = 1000


def pairs(assets: Assets) -> Callable[[Store, np.ndarray], Raw]:
    """What rows of users and items are called."""

    def inputs(store: Store, indices: np.ndarray) -> Raw:
        raw = store.fetch(indices)
        return {
            role: as_bytes([assets[f"{role}s"][code] if code >= 0 else "" for code in raw[role].tolist()])
            for role in ("user", "item")
        }

    return inputs


def all_known(assets: Assets, users: np.ndarray) -> Raw:
    """Users with all that the model knows of them, as predict has it: what is held out is among it."""
    taken = Lists(*seen(assets)).at(users)
    return {"user": users, "history": taken.items, "history_splits": taken.splits}


def held_out(assets: Assets, most: int, store: Store, indices: np.ndarray) -> Raw:
    """Users with what they took before the split, by name, filled up."""
    raw = store.fetch(indices)
    names, splits = assets["items"], raw["history_splits"]
    lists = [raw["history"][start:end].tolist() for start, end in zip(splits, splits[1:], strict=False)]
    width = max(map(len, lists), default=0)
    rows = [[names[code] if code >= 0 else "" for code in row] + [""] * (width - len(row)) for row in lists]
    flat = as_bytes([name for row in rows for name in row])
    return {
        "user": as_bytes(store.ids(indices)),
        "history": flat.reshape(len(lists), width),
        "k": np.asarray(most, np.int32),
    }


def network_inputs(config: Config, items: int, raw: Raw) -> Raw:
    """Users, or histories, each with all items, or with as many as are looked at here."""
    if "item" in raw:
        return {"user": np.maximum(raw["user"], 0), "item": np.maximum(raw["item"], 0)[:, None]}
    rows = len(raw["history_splits"]) - 1
    candidates = np.tile(np.arange(min(items, _ITEMS_AT_ONCE), dtype=np.int32), (rows, 1))
    if config.backbone == "ease":
        taken = np.zeros((rows, items), np.float32)
        there = raw["history"] >= 0
        taken[np.repeat(np.arange(rows), np.diff(raw["history_splits"]))[there], raw["history"][there]] = 1
        return {TAKEN: taken, "item": candidates}
    if config.backbone not in SEQUENTIAL:
        return {"user": np.maximum(raw["user"], 0), "item": candidates}
    lists = tf.RaggedTensor.from_row_splits(raw["history"], raw["history_splits"])
    return {"history": histories(lists, config).numpy(), "item": candidates}


def among_all(store: Store, indices: np.ndarray) -> Raw:
    """The same users, whose lists are made of all items."""
    return {name: column for name, column in store.fetch(indices).items() if not name.startswith("candidates")}


def list_records(
    config: Config,
    codes: Mapping[str, int],
    ids: Sequence[str],
    inputs: Mapping[str, Any],
    outputs: Mapping[str, np.ndarray],
) -> list[Record]:
    """As predict gives them, of lists."""
    found = []
    folded = outputs.get("folded_in", np.zeros(len(ids), bool))
    histories: Sequence[Sequence[bytes]] = inputs.get("history", [[]] * len(ids))
    rows = zip(ids, *(outputs[name] for name in ("items", "scores", "known")), folded, histories, strict=True)
    for name, items, scores, known, is_folded, history in rows:
        names = [_text(one) for one in items if one]
        shown = [round(float(score), 4) for score in scores[: min(len(names), config.k)]]
        unknown = [_text(one) for one in history if one and _text(one) not in codes]
        answer = {
            "items": names[: config.k],
            "scores": shown,
            "known": bool(known),
            **({"folded_in": True} if is_folded else {}),
            **({"unknown_items": unknown} if unknown else {}),
        }
        output = np.full(len(items), -1, np.int32)
        output[: len(names)] = [codes[one] for one in names]
        found.append(Record(name, answer, output))
    return found


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


def rating_records(
    ids: Sequence[str], inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> list[Record]:
    """As predict gives them, of users and items."""
    del inputs
    rows = zip(ids, outputs["rating"], outputs["known"], outputs["known_item"], strict=True)
    return [
        Record(
            name,
            {"rating": round(float(rating), 4), "known": bool(known), "known_item": bool(item)},
            np.asarray([rating], np.float32),
        )
        for name, rating, known, item in rows
    ]


def rating_gap(found: Mapping[str, np.ndarray], records: Sequence[Record]) -> np.ndarray:
    wanted = np.array([record.output for record in records])[:, 0]
    gaps: np.ndarray = np.abs(found["rating"] - wanted) / np.maximum(1.0, np.abs(wanted))
    alike = [found[name] == [record.answer[name] for record in records] for name in ("known", "known_item")]
    return np.where(np.logical_and(*alike), gaps, np.inf)


def list_gap(found: Mapping[str, np.ndarray], records: Sequence[Record], most: int | None = None) -> np.ndarray:
    """float [rows]: by how much scores differ, of each item in the record's list and of each place; relative where they
    are above 1. Two items may change places where their scores are that near. `most` items are looked at."""
    gaps = []
    lists = zip(found["items"][:, :most], found["scores"][:, :most], found["known"], records, strict=True)
    for names, scores, known, record in lists:
        listed = {name.decode("utf-8", "surrogatepass"): score for name, score in zip(names, scores, strict=True)}
        listed.pop("", None)
        shown = record.answer["items"]  # whose scores are rounded there
        wanted = dict(zip(shown, record.beside[: len(shown)].tolist(), strict=True))
        if len(listed) != len(wanted) or bool(known) != record.answer["known"]:
            gaps.append(np.inf)
            continue
        least = min(listed.values(), default=0.0)
        each = [abs(listed[name] - score) if name in listed else score - least for name, score in wanted.items()]
        each += [abs(ours - score) for ours, score in zip(listed.values(), wanted.values(), strict=True)]
        gaps.append(float(np.max(each, initial=0.0)) / max(1.0, *map(abs, wanted.values())) if wanted else 0.0)
    return np.array(gaps)


def as_bytes(names: Sequence[str]) -> np.ndarray:
    """object [names]."""
    found = np.empty(len(names), object)
    found[:] = [name.encode("utf-8", "surrogatepass") for name in names]
    return found
