"""The command line. It imports no TensorFlow: a verb loads what it needs when it runs."""

import codecs
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

import click

from pipelines import __version__
from pipelines.cli.commands import COMPLETION, Verbs
from pipelines.cli.data import data
from pipelines.cli.doctor import doctor
from pipelines.cli.exporting import export
from pipelines.cli.folders import report, resume, verify
from pipelines.cli.jobs import cancel, jobs, logs, submit
from pipelines.cli.launching import launch
from pipelines.cli.predicting import merge
from pipelines.cli.running import evaluate, predict, run
from pipelines.cli.settings import config, recipes, tasks
from pipelines.errors import OutOfMemory, Preempted, SixfoldError


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="sixfold", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Applied machine learning in Keras 3: name a task and your data, get a trained, honestly scored model.

    Start with `sixfold tasks`, then `sixfold run TASK`: without --data it uses a small built-in sample.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (
    *(tasks, run, resume, launch, recipes, config, data, evaluate, predict, export, report, verify, doctor),
    *(merge, submit, jobs, logs, cancel),
):
    cli.add_command(command)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    A SixfoldError, what the system refuses about a file, and memory that is used up, are one sentence each; anything
    else keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="sixfold-escape")
    completion = os.environ.get(COMPLETION)
    if completion:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "sixfold", COMPLETION, completion)
    try:
        code = _dispatch(list(sys.argv[1:] if args is None else args))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does.
        _give_up(sys.stdout)
        return 141
    except OSError as error:
        if error.errno is None:
            raise
        return _refused(error)
    except Exception as error:
        if not _is_of_memory(error):
            raise
        return _fail(str(OutOfMemory()), OutOfMemory.exit_code)
    return code


def entry() -> None:
    """The command: `main`, then the end of the process.

    After a signal it ends at once: taking TensorFlow down costs seconds that a batch system may not grant, and what
    was to be saved is on disk.
    """
    code = main()
    if code == Preempted.exit_code:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """What an output's encoding has no sign for, as \\uXXXX: unlike Python's own \\xXX, JSON stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error("sixfold-escape", _escape)


def _is_of_memory(error: Exception) -> bool:
    """Whether Python, NumPy, TensorFlow or JAX, none of which may be loaded here, has found no memory."""
    name = type(error).__name__
    return isinstance(error, MemoryError) or name == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)


def _refused(error: OSError) -> int:
    """A full disk, a folder that cannot be written, a name that is too long: a sentence and exit 1."""
    try:
        sys.stdout.flush()
    except OSError:
        _give_up(sys.stdout)
    # A rename's second name is the one that the user knows.
    file = error.filename2 or error.filename
    with suppress(OSError):
        _fail(f"{os.fsdecode(file)}: {error.strerror}" if isinstance(file, str | bytes) else f"{error.strerror}", 1)
    return 1


def _give_up(stream: TextIO) -> None:
    """Write no more: Python would complain once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _dispatch(words: list[str]) -> int:
    try:
        with cli.make_context("sixfold", words.copy(), obj=words) as context:
            cli.invoke(context)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _fail(_usage_sentence(error), 2)
    except SixfoldError as error:
        return _fail(str(error), error.exit_code, "" if isinstance(error, Preempted) else "error: ")
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
    return 0


def _fail(sentence: str, code: int, mark: str = "error: ") -> int:
    click.echo(f"{mark}{sentence}", err=True)
    return code


def _usage_sentence(error: click.ClickException) -> str:
    """What click found wrong, in the house's words and with the way to the help."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "sixfold"
    if isinstance(error, click.NoSuchOption):
        near = error.possibilities or []
        hint = f": did you mean {near[0]}?" if near else f"; `{path} --help` lists those there are."
        return f"unknown option {error.option_name}{hint}"
    return f"{error.format_message().rstrip('.')}; see `{path} --help`."
