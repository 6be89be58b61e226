"""Texts: from the bytes of a file or the cell of a table to characters, or what is wrong with them."""

import codecs
import difflib
import encodings.aliases
import math
import os
import re
import stat
from typing import Any

from pipelines.sources.scan import BadExample

LARGEST = 10_000_000
"""Bytes of a file, or characters of a cell, that are taken for one text."""

_MARK = "\ufeff"
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"%PDF-": "PDF"}
"""How files begin that hold a text, or texts, in another form."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_encoding(name: str) -> str:
    """The name that Python knows an encoding of text by, lower case; a mark of UTF-8 is always dropped, so that
    utf-8-sig is utf-8.

    Raises:
        ValueError: there is none of that name.
    """
    if known := _text_codec(name):
        return known
    near = difflib.get_close_matches(name.lower().replace("-", "_"), encodings.aliases.aliases, n=3)
    guess = next((codec for alias in near if (codec := _text_codec(encodings.aliases.aliases[alias]))), None)
    raise ValueError(f"{name!r} is no encoding of text: " + (f"try {guess}" if guess else "name one, as cp1252"))


def _text_codec(name: str) -> str | None:
    """What Python calls an encoding; None where it is none, or one that is not for text."""
    try:
        known = codecs.lookup(name).name
        "a".encode(known)  # refuses codecs that are not for text
    except (LookupError, UnicodeError, ValueError):
        return None
    return known.removesuffix("-sig")


def read_file(path: bytes) -> bytes:
    """The bytes of a text file.

    Raises:
        BadExample: there is no such file, or it is empty, no file, enormous or unreadable.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise BadExample("unreadable", "is no file.")
        check_size(status.st_size, "bytes")
        with open(path, "rb") as file:
            return file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise BadExample("missing-file", "does not exist.") from error
    except (OSError, ValueError) as error:
        raise BadExample("unreadable", f"cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def check_size(size: int, unit: str) -> None:
    """BadExample where a text is too large to be one."""
    if size > LARGEST:
        raise BadExample(
            "too-large", f"is {size:,} {unit} long, and a text may have {LARGEST:,}: cut it into several texts."
        )


def from_file(data: bytes, encoding: str = "utf-8") -> str:
    """The text of a file's bytes.

    Raises:
        BadExample: it does not decode, holds a NUL, is blank or too large.
    """
    if not data:
        raise BadExample("empty-file", "is empty (0 bytes).")
    check_size(len(data), "bytes")
    if kind := next((kind for start, kind in _PACKED.items() if data.startswith(start)), None):
        raise BadExample("malformed-text", f"is a {kind} file, not a text: take the text out of it.")
    return _checked(_decoded(data, encoding), wide(data))


def from_cell(value: Any, encoding: str = "utf-8") -> str:
    """The text of a cell; bytes, as Parquet may hold, are decoded.

    Raises:
        BadExample: there is none, or something else than text, or as from_file.
    """
    if isinstance(value, bytes):
        check_size(len(value), "bytes")
        value = _decoded(value, encoding)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise BadExample("empty-text", "has no text: fill it in.")
    if not isinstance(value, str):
        raise BadExample("malformed-row", f"holds {value!r:.40} where a text belongs: mend it, or map another column.")
    check_size(len(value), "characters")
    return _checked(value)


def decode(data: bytes, encoding: str) -> str:
    """Bytes decoded, without the mark (BOM) at their start.

    Raises:
        UnicodeDecodeError: they are of another encoding.
    """
    if encoding != "utf-8" and data.startswith(codecs.BOM_UTF8) and is_narrow(encoding):
        raise UnicodeDecodeError(encoding, data, 0, 3, "a mark of UTF-8")
    return data.decode(encoding).removeprefix(_MARK)


def misfit(
    error: UnicodeDecodeError,
    encoding: str,
    *,
    line: int | None = None,
    whole: str = "the table",
    settable: bool = True,
) -> str:
    """What is said of bytes that do not decode: 'is not UTF-8 (byte offset 17 holds 0xFC): save it as UTF-8, or …'.

    Args:
        error: as decode raises it.
        encoding: that they were taken for; the error itself may name it otherwise (charmap).
        line: of a table, whose bytes these are.
        whole: what that is a line of.
        settable: whether the task has the setting `encoding`.
    """
    offset, data = error.start, error.object
    place = f"byte offset {offset:,}" + (f" of line {line:,}" if line else "")
    found = f"is not {encoding.upper()} ({place} holds 0x{data[offset]:02X})"
    other = _fitting(data, encoding) if settable else None
    return f"{found}: save {whole if line else 'it'} as UTF-8" + (f", or give --encoding {other}." if other else ".")


def is_narrow(encoding: str) -> bool:
    """Whether a line break is the one byte that it is in ASCII, so that lines can be told before they are decoded."""
    return "\n".encode(encoding) == b"\n"


def utf16_or_32(start: bytes) -> str | None:
    """The encoding that a mark (BOM) at the start says: utf-16 or utf-32."""
    return next((name for mark, name in _WIDE_MARKS if start.startswith(mark)), None)


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return decode(data, encoding)
    except UnicodeDecodeError as error:
        raise BadExample("wrong-encoding", misfit(error, encoding)) from error


def _fitting(data: bytes, tried: str) -> str | None:
    """Another encoding that the bytes may be of."""
    if marked := utf16_or_32(data):
        return marked if marked != tried else None
    for name in ("utf-8", "cp1252"):
        try:
            data.decode(name)
        except UnicodeDecodeError:
            continue
        return name if name != tried else None
    return None


def wide(data: bytes) -> str | None:
    """What text without a mark may be where every other byte is NUL."""
    if b"\0" not in data or len(data) % 2:
        return None
    return next((name for first, name in ((0, "utf-16-be"), (1, "utf-16-le")) if not any(data[first:512:2])), None)


def _checked(text: str, guess: str | None = None) -> str:
    at = text.find("\0")
    if at >= 0:
        remedy = f"give --encoding {guess}, which it may be." if guess else "it is no text, or a damaged one."
        raise BadExample("malformed-text", f"holds a NUL, its character {at + 1:,}: {remedy}")
    # What shows nothing is no text either, as are blanks: a joiner or a direction mark alone.
    if not any(letter.isprintable() and letter != " " for letter in text):
        raise BadExample("empty-text", "holds nothing but blanks: fill it in." if text else "has no text: fill it in.")
    if _SURROGATE.search(text):
        raise BadExample("malformed-text", "holds half a character (a surrogate that stands alone): mend it.")
    return text
