"""Room in the cache folder for what is made of examples once and kept."""

import shutil
import time
from contextlib import suppress
from pathlib import Path

_DAY = 24 * 3600


def make_room(newest: Path, most: int) -> None:
    """Of the folders beside `newest`, remove those that were not used for longest until `most` bytes are left, and what
    killed processes left a day ago."""
    held = 0
    for age, place in sorted((_age(place), place) for place in newest.parent.iterdir() if place.is_dir()):
        if place.name.startswith("."):
            is_old = age > _DAY
        else:
            with suppress(OSError):  # removed by another process meanwhile
                held += sum(file.stat().st_size for file in place.iterdir())
            is_old = held > most and place != newest
        if is_old:
            shutil.rmtree(place, ignore_errors=True)


def _age(place: Path) -> float:
    """Seconds since it was last used."""
    try:
        return time.time() - place.stat().st_mtime
    except OSError:
        return 0.0
