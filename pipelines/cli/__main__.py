"""`python -m pipelines.cli` is `sixfold`."""

from pipelines.cli import entry

if __name__ == "__main__":
    entry()
