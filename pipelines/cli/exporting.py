"""The verb export: a finished run's model in the formats that others load."""

from pathlib import Path

import click

from pipelines.cli.running import RUN, stoppable

# As pipelines.exports.writing.FILES, which loads what help does without; a test holds them together.
FORMATS = ("saved-model", "litert", "litert-int8", "onnx", "keras")


def _export(run: Path, formats: tuple[str, ...], examples: int) -> None:
    with stoppable():
        from pipelines.exports.writing import export as write

        write(run, formats or FORMATS[:1], examples, lambda line: click.echo(line, err=True))


export = click.Command(
    "export",
    callback=_export,
    params=[
        RUN,
        click.Option(
            ["--format", "formats"],
            type=click.Choice(FORMATS),
            multiple=True,
            help="What to write; several may be given.  [default: saved-model]",
        ),
        click.Option(
            ["--examples"],
            type=click.IntRange(min=1),
            default=1000,
            show_default=True,
            help="Examples of the test split, at most, that it is tried on.",
        ),
    ],
    help="Write a finished run's model for others to load, into RUN/export.\n\n"
    "Each export scores the test split in a process of its own that knows no Sixfold. Where its answers or its score "
    "are not the model's, exit 5, and nothing is left of it; export/parity.json says what was found. See "
    "docs/exports.md.",
)
