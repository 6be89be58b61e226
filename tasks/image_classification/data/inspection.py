"""What an image's bytes hold: whether they decode, their size and channels. By Pillow, a JPEG at an eighth."""

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import IO, Any

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

FACTS = 5
"""width, height, channels (1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha), format, and whether it carries an
orientation that the decoder ignores."""
TURNED = 4
"""The place of the last."""

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
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_END, _JPEG_SCAN = b"\xff\xd9", b"\xff\xda"
_BMP_HEAD = 54


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
    with _opened(path) as file:
        return file.read()


def check_header(path: bytes) -> None:
    """Refuse a file by a look at its head; what stands behind it may still be damaged.

    Raises:
        BadExample: as read_file, or it is too large, or of a format or kind that is not supported.
    """
    with _opened(path) as file, _refusals():
        head = file.read(_BMP_HEAD)
        file.seek(0)
        with Image.open(file) as image:
            _format(image, head)


@contextmanager
def _opened(path: bytes) -> Iterator[IO[bytes]]:
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
            yield file
    except FileNotFoundError as error:
        raise BadExample("missing-file", "does not exist.") from error
    except (OSError, ValueError) as error:
        raise BadExample("unreadable", f"cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def inspect(data: bytes) -> tuple[int, tuple[int, int, int, int, int]]:
    """(content hash, facts) of an image; width and height as shown (a JPEG's EXIF orientation obeyed).

    Raises:
        BadExample: it does not decode, or is of a format or kind that is not supported.
    """
    with _refusals(), Image.open(BytesIO(data)) as image:
        code = _format(image, data)
        channels = 4 if "transparency" in image.info and image.mode == "P" else _CHANNELS.get(image.mode, 3)
        width, height = image.size
        _check_length(FORMATS[code], data, width, height)
        # Scaled decoding still reads every bit of the file, so damage shows all the same.
        image.draft(None, (1, 1))
        image.load()
        turned = _orientation(image)
    obeyed = FORMATS[code] == "JPEG"
    if obeyed and turned >= 5:
        width, height = height, width
    return content_hash(data), (width, height, channels, code, int(turned > 1 and not obeyed))


@contextmanager
def _refusals() -> Iterator[None]:
    """What Pillow says, as BadExample."""
    try:
        yield
    except BadExample:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise BadExample("too-large", f"holds more than {limit} million pixels: scale it down.") from error
    except UnidentifiedImageError as error:
        raise BadExample("undecodable", "is no image, or one of an unknown format.") from error
    except Exception as error:  # decoders raise anything on damaged bytes
        raise BadExample("undecodable", f"does not decode: {str(error).strip('.') or type(error).__name__}.") from error


def _check_length(format: str, data: bytes, width: int, height: int) -> None:
    """What Pillow forgives and TensorFlow's decoder does not: a PNG or JPEG without its end mark (what follows that is
    forgiven by both), and a BMP that anything follows."""
    if format == "JPEG" and data.find(_JPEG_END, _first_scan(data)) < 0:
        raise BadExample("undecodable", "does not decode: image file is truncated (its end mark is missing).")
    if format == "PNG" and _PNG_END not in data:
        raise BadExample("undecodable", "does not decode: image file is truncated (its IEND chunk is missing).")
    if format == "BMP":
        start, bits = int.from_bytes(data[10:14], "little"), int.from_bytes(data[28:30], "little")
        surplus = len(data) - start - (width * bits // 8 + 3) // 4 * 4 * height
        if surplus > 0:
            raise BadExample("undecodable", f"does not decode: {surplus:,} bytes follow its pixels. Save it anew.")


def _first_scan(data: bytes) -> int:
    """Where a JPEG's pixels start: behind its segments, of which one may hold a thumbnail with an end of its own."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at : at + 2] != _JPEG_SCAN:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def claimed_format(path: bytes) -> str | None:
    """The format that a file's extension promises."""
    return EXTENSIONS.get(os.path.splitext(os.fsdecode(path))[1].lower())


def _format(image: Any, data: bytes) -> int:
    """The code of the format; BadExample where the decoder would not take it."""
    name = {"MPO": "JPEG"}.get(image.format, image.format)
    if name == "GIF":
        raise BadExample("unsupported-format", "is a GIF, which is for animations: convert it to PNG or JPEG.")
    if name not in FORMATS:
        raise BadExample(
            "unsupported-format",
            f"is {name}, which is not supported: convert it to {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.",
        )
    if name == "WEBP" and getattr(image, "is_animated", False):
        raise BadExample("unsupported-format", "is an animated WebP: save one frame of it.")
    # The decoder reads palette indices as shades of grey, and knows no 16 bits.
    if name == "BMP" and data[28:30] not in (b"\x18\0", b"\x20\0"):
        raise BadExample("unsupported-format", "is a BMP of less than 24 bits: convert it to PNG.")
    return FORMATS.index(name)


def _orientation(image: Any) -> int:
    """How EXIF says that the picture is stored: 1 upright, 2 to 4 mirrored or upside down, 5 to 8 on its side."""
    if "exif" in image.info:
        with suppress(Exception):  # a damaged EXIF block turns nothing
            turned = int(image.getexif().get(_ORIENTATION, 1))
            return turned if 1 <= turned <= 8 else 1
    return 1
