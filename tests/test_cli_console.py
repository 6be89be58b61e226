"""Progress and notes: a bar on a terminal, sparse plain lines elsewhere."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.console import Console, text_table

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
from pipelines.console import Console
console = Console()
with console.bar("reading", 200, "images") as advance:
    for done in range(0, 201, 50):
        advance(done, "half [way]" if done == 100 else "")
    console.say("a [note]")
console.result("a result")
"""


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_come_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Console(clock).bar("reading", 1000, "images") as advance:
        for second in range(36):
            clock.now = float(second)
            advance(second * 20, "loss 0.5" if second == 20 else "")
    assert capsys.readouterr().err.splitlines() == [
        "reading: 200 of 1,000 images, 20/s, 0:40 left",
        "reading: 400 of 1,000 images, 20/s, 0:30 left, loss 0.5",
        "reading: 600 of 1,000 images, 20/s, 0:20 left",
    ]


def test_what_ends_soon_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().bar("reading", 10, "images") as advance:
        for done in range(11):
            advance(done)
    assert capsys.readouterr() == ("", "")


def test_total_may_come_later_or_never(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Console(clock).bar("reading", None, "images") as advance:
        clock.now = 10.0
        advance(5)
        clock.now = 20.0
        advance(10, total=36010)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 5 images, 0.5/s",
        "reading: 10 of 36,010 images, 0.5/s, 20:00:00 left",
    ]


def test_results_and_notes_go_to_their_streams(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.say("a note")
    console.result("a result")
    console.table([["name", "value"], ["accuracy", "0.9"], ["n", "1,000"]])
    out, err = capsys.readouterr()
    assert err == "a note\n"
    assert out == "a result\nname      value\naccuracy    0.9\nn         1,000\n"


def test_text_table_of_words() -> None:
    assert text_table([["a", "bc"], ["def", "g"]]) == "a    bc\ndef  g"
    assert text_table([["a", "b"], ["c\nd", "e"]]) == "a    b\nc d  e"  # each row is a line


def test_no_control_codes_in_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60, env=environment()
    )
    assert (done.stdout, done.stderr) == ("a result\n", "a [note]\n")


@pytest.mark.parametrize("colour", [True, False])
def test_a_bar_on_a_terminal(colour: bool) -> None:
    text = on_terminal(environment(TERM="xterm-256color", **({} if colour else {"NO_COLOR": "1"})))
    assert "reading" in text
    assert "200/200" in text
    assert "images/s" in text
    assert "a [note]\r\n" in text
    assert ("\x1b[38;5;" in text or "\x1b[3" in text) == colour


def test_no_bar_on_a_dumb_terminal() -> None:
    assert on_terminal(environment(TERM="dumb")) == "a [note]\r\n"


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **more}


def on_terminal(variables: dict[str, str]) -> str:
    """What the script writes to standard error when that is a terminal."""
    main_end, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.DEVNULL, stderr=terminal, env=variables
    )
    os.close(terminal)
    parts = []
    try:
        while part := os.read(main_end, 4096):
            parts.append(part)
    except OSError:  # Linux says so when the other end has closed.
        pass
    os.close(main_end)
    assert process.wait(timeout=60) == 0
    return b"".join(parts).decode()
