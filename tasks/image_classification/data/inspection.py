"""What an image's bytes hold: whether they decode, their size and channels. By Pillow, a JPEG at an eighth."""

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any

from PIL import Image, UnidentifiedImageError

from pipelines.sources.scan import BadExample, content_hash

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
"""What the decoder takes; a format's place here is its code."""

EXTENSIONS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".webp": "WEBP",
}
OTHER_EXTENSIONS = (".gif", ".tif", ".tiff", ".avif", ".heic", ".jp2", ".ppm", ".pgm", ".tga", ".ico")
"""Pictures too, but not of a supported format."""

FACTS = 4
"""width, height, channels (1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha), format."""

_CHANNELS = {
    "1": 1,
    "L": 1,
    "I": 1,
    "F": 1,
    "I;16": 1,
    "I;16B": 1,
    "I;16L": 1,
    "I;16N": 1,
    "LA": 2,
    "La": 2,
    "RGBA": 4,
    "RGBa": 4,
    "PA": 4,
}
_ORIENTATION = 0x0112
_LARGEST_FILE = 1 << 30


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Around a scan, outside its threads, as filters are the whole process's: decompression bombs become errors."""
    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_file(path: bytes) -> bytes:
    """The bytes of an image file.

    Raises:
        BadExample: there is no such file, or it is empty, no file, enormous or unreadable.
    """
    if not path:
        raise BadExample("empty-path", "names no file: fill the cell in.")
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise BadExample("unreadable", "is no file.")
        if not status.st_size:
            raise BadExample("empty-file", "is empty (0 bytes).")
        if status.st_size > _LARGEST_FILE:
            raise BadExample("too-large", f"is {status.st_size:,} bytes, too many for one image.")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise BadExample("missing-file", "does not exist.") from error
    except (OSError, ValueError) as error:
        raise BadExample("unreadable", f"cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def inspect(data: bytes) -> tuple[int, tuple[int, int, int, int]]:
    """(content hash, facts) of an image: width and height as shown (EXIF orientation obeyed), channels, format.

    Raises:
        BadExample: it does not decode, or is of a format or kind that is not supported.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            code = _format(image, data)
            channels = 4 if "transparency" in image.info and image.mode == "P" else _CHANNELS.get(image.mode, 3)
            width, height = image.size
            # Scaled decoding still reads every bit of the file, so damage shows all the same.
            image.draft(None, (1, 1))
            image.load()
            if _is_turned(image):
                width, height = height, width
    except BadExample:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise BadExample("too-large", f"holds more than {limit} million pixels: scale it down.") from error
    except UnidentifiedImageError as error:
        raise BadExample("undecodable", "is no image, or one of an unknown format.") from error
    except Exception as error:  # decoders raise anything on damaged bytes
        raise BadExample("undecodable", f"does not decode: {str(error).strip('.') or type(error).__name__}.") from error
    return content_hash(data), (width, height, channels, code)


def claimed_format(path: bytes) -> str | None:
    """The format that a file's extension promises."""
    return EXTENSIONS.get(os.path.splitext(os.fsdecode(path))[1].lower())


def _format(image: Any, data: bytes) -> int:
    """The code of the format; BadExample where the decoder would not take it."""
    name = {"MPO": "JPEG", "DIB": "BMP"}.get(image.format, image.format)
    if name == "GIF":
        raise BadExample("unsupported-format", "is a GIF, which is for animations: convert it to PNG or JPEG.")
    if name not in FORMATS:
        raise BadExample(
            "unsupported-format",
            f"is {name}, which is not supported: convert it to {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.",
        )
    if name == "WEBP" and getattr(image, "is_animated", False):
        raise BadExample("unsupported-format", "is an animated WebP: save one frame of it.")
    # The decoder reads palette indices as shades of grey, and knows neither run lengths nor 1, 4 or 16 bits.
    if name == "BMP" and (
        image.mode in ("P", "1") or data[28:30] not in (b"\x08\0", b"\x18\0", b"\x20\0") or data[30] in (1, 2)
    ):
        raise BadExample("unsupported-format", "is a BMP with a palette, compression or 16 bits: convert it to PNG.")
    return FORMATS.index(name)


def _is_turned(image: Any) -> bool:
    """Whether EXIF says that the picture is stored lying on its side."""
    if "exif" in image.info:
        with suppress(Exception):  # a damaged EXIF block turns nothing
            return int(image.getexif().get(_ORIENTATION, 1)) >= 5
    return False
