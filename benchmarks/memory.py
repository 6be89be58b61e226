"""Peak memory against the number of images on disk: two runs of one epoch, on N images and on eight times as many.

    python benchmarks/memory.py [--images 2000]

The images are 96x96 JPEGs in class folders, made by a seeded generator. Each run is a process of its own with the
default network and --stop-step 30, so both train on as many batches. Printed are the peak resident memory of each run
and the growth.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder: Path, count: int) -> None:
    """Two classes of noise, dark and light."""
    random = np.random.default_rng(0)
    for i in range(count):
        label = ("dark", "light")[i % 2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        pixels = random.integers(96 * (i % 2), 128 + 96 * (i % 2), (96, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / label / f"{i}.jpg", quality=80)


def peak(words: list[str]) -> float:
    """Peak resident MB of a child process."""
    code = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True); "
        "sys.stderr.write(done.stderr[-2000:] if done.returncode else ''); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    sys.stderr.write(done.stderr)
    return int(done.stdout) / 1024


def main() -> None:
    """Print the two peaks and their difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    images = parser.parse_args().images
    peaks = {}
    with tempfile.TemporaryDirectory() as place:
        for count in (images, 8 * images):
            folder = Path(place) / str(count)
            write_images(folder, count)
            # The same number of images is trained on, validated and tested; what differs is how many there are.
            counts = f"{count - 600},300,300"
            words = [sys.executable, "-m", "pipelines.cli", "run", "image-classification", "--data", str(folder)]
            words += ["--split", counts, "--stop-step", "30", "--run-dir", str(Path(place) / f"run-{count}")]
            peaks[count] = peak(words)
            print(f"{count:,} images: peak {peaks[count]:,.0f} MB", flush=True)
    small, large = peaks.values()
    print(f"growth from 1x to 8x: {large - small:+,.0f} MB ({large / small:.3f}x)")


if __name__ == "__main__":
    main()
