"""Texts in the report whose words are coloured: kept as plain data, made HTML by the page's template alone."""

import base64
import unicodedata
from collections.abc import Mapping
from typing import Any

from pipelines.task import Passages

_FAINTEST = 0.02
"""Words that say less stand as they are."""
_STRONGEST = 0.6
"""How opaque the colour behind a word gets: its letters must be read in the light and in the dark."""


def as_json(figure: Passages) -> dict[str, Any]:
    """The texts as they lie in the run folder; what no page may hold, as control characters, is U+FFFD."""
    passages = [
        {
            "heading": _printable(passage.heading),
            "words": [[_printable(word), None if value is None else round(value, 4)] for word, value in passage.words],
            **({} if passage.sound is None else {"sound": base64.b64encode(passage.sound).decode("ascii")}),
        }
        for passage in figure.passages
    ]
    return {"legend": figure.legend and list(figure.legend), "passages": passages}


def shown(figure: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows of as_json's value: each word as its blank, itself, and its class and strength."""
    passages = [
        {
            "heading": passage["heading"],
            "words": [_shown(word, value) for word, value in passage["words"]],
            "sound": passage.get("sound"),
        }
        for passage in figure["passages"]
    ]
    return {"legend": figure["legend"], "strongest": _STRONGEST, "passages": passages}


def _shown(word: str, value: float | None) -> tuple[str, str, str, float]:
    bare = word.lstrip()
    kind = "unseen" if value is None else "" if abs(value) < _FAINTEST else "for" if value > 0 else "against"
    return word[: len(word) - len(bare)], bare, kind, round(_STRONGEST * min(abs(value or 0.0), 1.0), 3)


def _printable(text: str) -> str:
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join("\ufffd" if unicodedata.category(sign) == "Cc" and not sign.isspace() else sign for sign in whole)
