"""The verbs that compute: run, evaluate, predict. Each loads TensorFlow only when it is called."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pipelines.cli.commands import Chosen, PairsCommand, TaskGroup
from pipelines.cli.predicting import SCHEMA, PredictCommand, predict_by_beam, say_part
from pipelines.console import text_table
from pipelines.errors import ConfigError, Preempted
from pipelines.interrupts import Interrupts

RUN = click.Argument(["run"], type=click.Path(path_type=Path), metavar="RUN")
COLUMNS = click.Option(
    ["--columns"],
    multiple=True,
    metavar="NAME=COLUMN...",
    help="Which columns of a table to read, as in image=path or text=review.",
)


@contextmanager
def stoppable() -> Iterator[Interrupts]:
    """The signals are ours from here on, before the slow imports: a run that has not begun ends as one that has."""
    from pipelines.launching import stop_with_the_launcher

    with Interrupts(hard=True) as interrupts:
        interrupts.last_words = lambda number: Preempted("give the same command again")
        stop_with_the_launcher()
        try:
            yield interrupts
        except KeyboardInterrupt:
            if interrupts.received is None:
                raise
            name = interrupts.received.name
            raise Preempted(f"stopped by {name} before anything was done: give the same command again.") from None


def _run(chosen: Chosen) -> None:
    # First the settings: a wrong one is told before TensorFlow has loaded.
    with stoppable() as interrupts:
        config = chosen.load().config
        from pipelines.engine import execute

        execute(chosen.task, config, chosen.words, interrupts)


run = TaskGroup("run", _run, help="Train, score and report: one run folder with everything in it.")


def _evaluate(run: Path, as_json: bool, output: Path | None, columns: tuple[str, ...], **settings: Any) -> None:
    settings["columns"] = _columns(columns)
    if output == Path("-"):
        output, as_json = None, True
    from pipelines.evaluation import evaluate

    metrics = evaluate(run, {name: value for name, value in settings.items() if value is not None})
    text = json.dumps(metrics, indent=2, ensure_ascii=False)
    if output is not None:
        try:
            _write(output, f"{text}\n")
        except OSError as error:
            raise ConfigError(
                f"--output {output} cannot be written ({error.strerror}): choose another file."
            ) from error
    click.echo(text if as_json else metrics_text(metrics))


def _write(output: Path, text: str) -> None:
    """Put the text into a file in one step; what is no plain file, as /dev/null or a link, is written through."""
    from pipelines.state import write_bytes

    if output.is_symlink() or (output.exists() and not output.is_file()):
        output.write_text(text, encoding="utf-8")
    else:
        write_bytes(output, text.encode())


evaluate = PairsCommand(
    "evaluate",
    callback=_evaluate,
    help="Score a run's model again, on its own test split or on other data.",
    params=[
        RUN,
        click.Option(
            ["--data"],
            metavar="SOURCE",
            help="A source as `sixfold run` takes; its test split is scored, or all of it where it has none.",
        ),
        COLUMNS,
        click.Option(
            ["--encoding"],
            metavar="TEXT",
            help="How the texts of SOURCE are written, as cp1252; default: as the run's.",
        ),
        click.Option(["--group-by"], metavar="COLUMN", help="Also give the scores for each value of this column."),
        click.Option(
            ["--on-bad"],
            type=click.Choice(["fail", "skip"]),
            help="What to do with examples of SOURCE that cannot be scored; default: fail.",
        ),
        click.Option(["as_json", "--json"], is_flag=True, help="Print what metrics.json holds."),
        click.Option(
            ["--output"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Also write that to a file; - prints it as --json does.",
        ),
    ],
)


def metrics_text(metrics: dict[str, Any]) -> str:
    """A run's metrics as a small table, the headline first and the baselines beside."""
    names = sorted(metrics["scores"], key=lambda name: name != metrics["headline"])
    head = ["", metrics["split"], "95 % interval"]
    rows = [[name, *_score_cells(metrics["scores"][name])] for name in names]
    for baseline in filter(None, (metrics.get("baseline"), *(metrics.get("baselines") or ()))):
        head.append(baseline["name"])
        rows = [[*row, _score_cells(baseline["scores"].get(name))[0]] for name, row in zip(names, rows, strict=True)]
    lines = [text_table([head, *rows])]
    if metrics.get("protocol"):
        lines.append(metrics["protocol"])
    return "\n".join([*lines, f"{metrics['examples']:,} examples", *_group_lines(metrics)])


def _group_lines(metrics: dict[str, Any]) -> list[str]:
    """The headline of each group, where scores were told apart."""
    found = (metrics.get("breakdowns") or {}).get("by_group")
    if not found:
        return []
    rows = [
        [
            name or "empty",
            f"{group['examples']:,}{' (few)' if group['small'] else ''}",
            *_score_cells(group["scores"].get(found["score"])),
        ]
        for name, group in found["groups"].items()
    ]
    table = text_table([[found["column"], "examples", found["score"], "95 % interval"], *rows])
    return [table, *([found["gap"]["sentence"]] if found["gap"] else [])]


def _score_cells(score: dict[str, float | None] | None) -> list[str]:
    if score is None or score["value"] is None:
        return ["-", "-"]
    low, high = score.get("low"), score.get("high")
    return [f"{score['value']:.4f}", "-" if low is None or high is None else f"{low:.4f} to {high:.4f}"]


def _columns(words: tuple[str, ...]) -> dict[str, str] | None:
    """--columns as a mapping, None where it is not given."""
    from pipelines.config import parse_columns

    try:
        return dict(parse_columns(words)) if words else None
    except ValueError as error:
        raise ConfigError(f"--columns {' '.join(words)}: {error}.") from None


def _encoding(name: str) -> str:
    from pipelines.sources.texts import check_encoding

    try:
        return check_encoding(name)
    except ValueError as error:
        raise ConfigError(f"--encoding: {error}.") from None


def asked_of_prediction(values: dict[str, Any], context: click.Context) -> tuple[list[str], dict[str, Any]]:
    """The inputs, and the options that were given; what is wrong with them is told without looking at the run."""
    from pipelines.config.options import further_inputs

    named, data = values.pop("input"), values.pop("data")
    if named and data:
        raise click.UsageError(f"INPUT {named[0]!r} and --data {data[0]!r} say the same: give one of them.", context)
    values |= {"columns": _columns(values["columns"]), "encoding": _encoding(values["encoding"])}
    given = {name: value for name, value in values.items() if value not in (None, ())}
    if not named and not data and not further_inputs(given):
        raise click.UsageError("Missing argument 'INPUT...', or --data INPUT.", context)
    return list(named or data), given


def _predict(
    run: Path,
    input: tuple[str, ...],
    data: tuple[str, ...],
    format: str,
    output: Path | None,
    max_bad: float,
    **options: Any,
) -> None:
    from pipelines.shards import Shard

    shard, merge = options.pop("shard"), options.pop("merge")
    runner, shards, beam_options = (options.pop(name) for name in ("runner", "shards", "beam"))
    context = click.get_current_context()
    inputs, given = asked_of_prediction({"input": input, "data": data, **options}, context)
    output = None if output == Path("-") else output
    part = None if shard is None else Shard.parse(shard)
    if part is None and merge:
        raise click.UsageError("--merge is for a prediction in parts: give --shard too.", context)
    if part is not None and (output is None or "-" in inputs):
        raise click.UsageError("--shard takes an --output, of which it is a part, and no standard input.", context)
    if runner is None and (shards or beam_options):
        raise click.UsageError(f"{'--shards' if shards else '--beam'} is for --runner beam: add that.", context)
    if runner is not None:
        if output is None or part is not None or "-" in inputs:
            raise click.UsageError("--runner beam takes an --output, no --shard and no standard input.", context)
        about = {"run_dir": run, "inputs": inputs, "output": output, "format": format}
        predict_by_beam({**about, "options": given, "max_bad": max_bad}, shards or 16, beam_options)
        return
    from pipelines.prediction import predict

    counts = predict(run, inputs, output=output, format=format, options=given, max_bad=max_bad, shard=part)
    if part is not None and output is not None:
        say_part(part, output, counts.records, together=merge)
        return
    where = f" in {output}" if output else ""
    bad = f", {counts.bad:,} of them errors" if counts.bad else ""
    click.echo(f"{counts.records:,} {'record' if counts.records == 1 else 'records'}{where}{bad}", err=True)


predict = PredictCommand(
    "predict",
    callback=_predict,
    help="Predict for files, folders, tables, or - for standard input: a record each, in order. On standard "
    "input stands a path a line; of tasks that read texts, a text a line.\n\n"
    "A bad input becomes a record with an error. Exit 3 where their share is above --max-bad.",
    params=[
        RUN,
        click.Argument(["input"], nargs=-1, type=click.Path(allow_dash=True), metavar="INPUT..."),
        click.Option(
            ["--data"],
            multiple=True,
            type=click.Path(allow_dash=True),
            metavar="INPUT",
            help="The same as INPUT, as the other verbs have it; may be given several times.",
        ),
        click.Option(
            ["--format"],
            type=click.Choice(["jsonl", "csv"]),
            default="jsonl",
            show_default=True,
            help="Of the records: a JSON line each, or a table with nothing nested in its cells.",
        ),
        click.Option(
            ["--output"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Where to write; default: standard output.",
        ),
        click.Option(
            ["--top-k", "-k"],
            type=click.IntRange(min=1),
            metavar="INTEGER",
            help="Of classes and recommendations: how many are listed for each; default: as the run.",
        ),
        click.Option(
            ["--horizon"],
            type=click.IntRange(min=1),
            metavar="INTEGER",
            help="Of forecasts: how many steps ahead; default: as the run.",
        ),
        click.Option(
            ["--max-bad"],
            type=click.FloatRange(0, 1),
            metavar="SHARE",
            default=0.01,
            show_default=True,
            help="Largest share of bad inputs that still ends in exit 0.",
        ),
        COLUMNS,
        click.Option(
            ["--encoding"],
            metavar="TEXT",
            default="utf-8",
            show_default=True,
            help="How texts are written in files, tables and standard input, whatever those of the run were in.",
        ),
        click.Option(
            ["--batch-size"],
            type=click.IntRange(min=1),
            metavar="INTEGER",
            help="Inputs computed at a time; default: as the run.",
        ),
        click.Option(
            ["--shard"],
            metavar="INDEX/COUNT",
            help="Predict one part only, 0/4 to 3/4, into OUTPUT.parts, where it is not there yet; see sixfold merge.",
        ),
        click.Option(["--merge"], is_flag=True, help="Of a shard: merge all parts if it was the last."),
        click.Option(
            ["--runner"],
            type=click.Choice(["beam"]),
            help="Predict by a pipeline of Apache Beam, in parts of OUTPUT, and merge them; see docs/jobs.md.",
        ),
        click.Option(
            ["--shards"],
            type=click.IntRange(1, 10_000),
            metavar="INTEGER",
            help="Of --runner beam: so many parts; default: 16.",
        ),
        click.Option(
            ["--beam"],
            multiple=True,
            metavar="OPTION",
            help="Of --runner beam: an option of Beam's, as --beam=--runner=FlinkRunner; may be given several times.",
        ),
        SCHEMA,
    ],
)
