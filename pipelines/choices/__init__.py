"""What `auto` stands for: the precision, XLA and the batch size of a run, chosen by a few real steps of it.

`bench` is the process that computes them, `trial` what it does there, `candidates` which precision and XLA are tried
and taken, `sizes` which batch sizes, `remembered` what was found before. Chosen values are settings as any others: they
stand in run.yaml before the run begins, and nothing is measured again where it goes on or is repeated.
"""

import time
from typing import Any

from pipelines.choices import candidates, sizes
from pipelines.choices.bench import Bench, Outcome
from pipelines.choices.remembered import Memory
from pipelines.config import RunConfig
from pipelines.console import Console
from pipelines.errors import ConfigError
from pipelines.workers import Workers


def choose(task: str, config: RunConfig, console: Console, workers: Workers) -> tuple[Any, dict[str, Any] | None]:
    """The config with a value for each setting that is `auto`, and what it was chosen by, for the manifest; None where
    there is none. Of several workers the chief chooses, and tells the others before they train.

    Called before the devices are started: what is tried, in a process of its own, has them for itself.

    Raises:
        ConfigError: several workers, which may share a machine's memory, and a batch size to be found.
        RunError: nothing could be measured, or not even the smallest batch fits.
        SixfoldError: the data or the settings are wrong, as the run itself would say.
    """
    if not config.open_choices:
        return config, None
    if workers.count > 1 and "batch_size" in config.open_choices:
        raise ConfigError(
            "batch_size auto: several workers may share a machine and its memory, which none of them can try out "
            "alone: name a number, for instance what auto finds for one worker times their number."
        )
    if not workers.is_chief:
        return config, None
    memory = Memory(task, config, workers.count)
    found = memory.recall(console)
    if found is None:
        console.say(f"choosing: {', '.join(config.open_choices)}, by a few steps of each on this machine …")
        started = time.monotonic()
        found = _measured(task, config, console, workers)
        found["seconds"] = round(time.monotonic() - started, 1)
        memory.keep(found, console)
        how = f"measured in {found['seconds']:.0f} s"
    else:
        for table in found["tables"]:
            console.say(table)
        how = f"remembered of {found['measured']}, in {memory.path}"
    told = ", ".join(f"{name} {value}" for name, value in found["chosen"].items())
    console.say(f"chosen: {told} ({how})")
    return config.model_copy(update=found["chosen"]), found


def _measured(task: str, config: RunConfig, console: Console, workers: Workers) -> dict[str, Any]:
    """What is chosen, and by what."""
    chosen: dict[str, Any] = {}
    tables: list[str] = []

    def say(text: str) -> None:
        tables.append(text)
        console.say(text)

    def trying(settings: dict[str, Any]) -> None:
        console.say(f"trying: {', '.join(f'{name} {value}' for name, value in settings.items())} …")

    about: dict[str, Any] = {"chosen": chosen, "tables": tables}
    asked = dict(config.model_dump(mode="json", include=config.model_fields_set))
    if "batch_size" not in config.open_choices and workers.count > 1:
        # What one of them computes of a batch.
        asked["batch_size"] = max(config.batch_size // workers.count // config.accumulate, 1) * config.accumulate
    with Bench(task) as bench:
        machine = bench.about({**asked, **candidates.plainest(config)})
        if "batch_size" in config.open_choices:
            parts = config.accumulate * machine["replicas"]
            asked["batch_size"] = -(-type(config).model_fields["batch_size"].default // parts) * parts
        if config.precision == "auto" or config.jit == "auto":

            def timed(settings: dict[str, str], limit: float, better: bool) -> Outcome:
                trying(settings)
                return bench.trial({**asked, **settings}, "usual", limit, better=better)

            best, about["candidates"] = candidates.choose(config, machine, timed, say)
            chosen.update(best)
            asked |= best
    if "batch_size" in config.open_choices:
        with Bench(task) as bench:

            def filled(size: int) -> Outcome:
                trying({"batch_size": size})
                return bench.trial({**asked, "batch_size": size}, "largest", sizes.LONGEST_TRIAL)

            chosen["batch_size"], about["sizes"] = sizes.choose(config, machine, filled, say)
    return about
