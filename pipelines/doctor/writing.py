"""The findings as lines, and as a table on a terminal."""

from typing import Any

from pipelines.doctor import Report
from pipelines.machine import BFLOAT16, FEATURES, gigabytes

Line = tuple[str, str]
"""Topic and text."""
NAMES = {"tensorflow": "TensorFlow", "jax": "JAX"}


def lines(report: Report) -> list[Line]:
    """Every finding; problems, warnings and the verdict last."""
    return [
        ("sixfold", f"{report['sixfold']}, Python {report['python']['version']} ({report['python']['executable']})"),
        ("packages", _packages(report["packages"])),
        *[(f"extra {name}", _extra(one)) for name, one in report["extras"].items()],
        ("processor", _processor(report["machine"])),
        ("memory", _memory(report["machine"])),
        *[_library(name, one) for name, one in report["libraries"].items()],
        *_blind(report["libraries"]),
        ("TPU", f"none: {report['why_no_tpu']}" if report["why_no_tpu"] else "may be started, which was not tried"),
        *[(f"disk, {one['for']}", f"{gigabytes(one['free'])} free ({one['folder']})") for one in report["disk"]],
        *[(f"cache, {one['of']}", _cache(one)) for one in report["caches"]],
        ("network", _network(report["network"])),
        ("TF_CONFIG", _cluster(report["cluster"])),
        *[("warning", text) for text in report["warnings"]],
        *[("problem", text) for text in report["problems"]],
        ("verdict", "all that is needed is here" if report["ok"] else "runs cannot work here: see the problems"),
    ]


def plain(report: Report) -> str:
    """A line each, for logs and pipes."""
    return "\n".join(f"{topic}: {text}" for topic, text in lines(report))


def print_table(report: Report) -> None:
    """To a terminal, in colours."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    colours = {"warning": "yellow", "problem": "bold red", "verdict": "green" if report["ok"] else "bold red"}
    for topic, text in lines(report):
        style = colours.get(topic, "")
        table.add_row(Text(topic, style=style or "bold"), Text(text, style=style))
    Console().print(table)


def _packages(found: dict[str, Any]) -> str:
    differ = ", ".join(f"{one['package']} {one['here']} ({one['tested']})" for one in found["differ"])
    others = f"; of another version than tested: {differ}" if differ else ", none of another version"
    return f"{found['as_tested']} as tested{others}"


def _extra(found: dict[str, Any]) -> str:
    return f"present ({_few(found['packages'])})" if found["present"] else f"absent (lacks {_few(found['lacking'])})"


def _few(names: list[str]) -> str:
    """'a, b, c and 9 more'."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _processor(found: dict[str, Any]) -> str:
    limit = "" if found["core_limit"] is None else f" (time of {found['core_limit']:g} granted)"
    has = ", ".join(FEATURES[name] for name in found["features"]) or "no known extensions"
    slow = "" if set(found["features"]) & set(BFLOAT16) else "; bfloat16 is emulated, so mixed_bfloat16 is slow"
    return f"{found['processor'] or 'unknown'}, cores: {found['cores']}{limit}; {has}{slow}"


def _memory(found: dict[str, Any]) -> str:
    known = [("", found["memory"]), (" unused", found["available"])]
    return ", ".join(f"{gigabytes(size)}{what}" for what, size in known if size is not None) or "unknown"


def _library(name: str, found: dict[str, Any]) -> Line:
    if found["installed"] is None:
        return NAMES[name], "not installed"
    if not found["works"]:
        return NAMES[name], f"{found['installed']} does not work: {found['error']}"
    named = (
        f"{one['name']} ({gigabytes(one['memory'])})" if one["memory"] else one["name"] for one in found["devices"]
    )
    kind = found["devices"][0]["kind"].upper()
    return NAMES[name], f"{found['installed']} computes on {kind}: {', '.join(named)}; started in {found['seconds']} s"


def _blind(libraries: dict[str, Any]) -> list[Line]:
    """Why there is no GPU: once, where the reason is the same."""
    reasons: dict[str, list[str]] = {}
    for name, one in libraries.items():
        if one["why_no_gpu"]:
            reasons.setdefault(one["why_no_gpu"], []).append(NAMES[name])
    return [(f"no GPU, {' and '.join(names)}", reason) for reason, names in reasons.items()]


def _cache(found: dict[str, Any]) -> str:
    if found["bytes"] is None:
        return f"none yet ({found['folder']})"
    size = found["bytes"] / 2**20
    amount = f"{size / 1024:.1f} GB" if size >= 1024 else f"{size:.0f} MB"
    return f"{'' if found['counted'] else 'at least '}{amount} ({found['folder']})"


def _network(found: dict[str, Any]) -> str:
    hosts = ", ".join(f"{host} {'answers' if there else 'is out of reach'}" for host, there in found["hosts"].items())
    about = "; ".join(part for part in (hosts, found["note"]) if part)
    return f"{'online' if found['online'] else 'offline'} ({about})"


def _cluster(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not set: one worker"
    if found["error"]:
        return "cannot be used"
    tasks = ", ".join(f"{name} {count}" for name, count in found["tasks"].items())
    return f"{found['kind']} {found['index']} of: {tasks}"
