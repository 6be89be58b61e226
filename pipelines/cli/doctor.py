"""`sixfold doctor`: what this installation and this machine can do, and what they lack."""

import json
import sys

import click

from pipelines.console import Console, is_terminal
from pipelines.errors import DeviceError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Say what is here and what is missing: packages, devices and why there is no GPU, disk, caches, network.

    Versions are held against the tested set. Exit 0 where all that a run needs is here, 4 where TensorFlow cannot
    compute or a package is missing. Three hosts that weights and data come from are connected to, and sent nothing;
    with HF_HUB_OFFLINE=1 none is.
    """
    from pipelines.doctor import examine
    from pipelines.doctor.writing import plain, print_table

    if is_terminal():
        Console().say("starting TensorFlow and JAX to see whether they compute …")
    report = examine()
    if as_json:
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
    elif sys.stdout.isatty():
        print_table(report)
    else:
        click.echo(plain(report))
    if not report["ok"]:
        click.get_current_context().exit(DeviceError.exit_code)
