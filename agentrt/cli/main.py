"""`agentrt`: the application, and the boundary where an error becomes an exit code.

Exit codes: 0 done, 1 an `AgentrtError`, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from types import FrameType
from typing import Annotated, Never

from cyclopts import App, CycloptsError, Parameter

from agentrt.cli import console, engine, learned, lora, models, predict, runs, trace
from agentrt.cli.calibrate import calibrate
from agentrt.cli.doctor import doctor
from agentrt.cli.plan import plan
from agentrt.cli.replay import replay
from agentrt.cli.resume import resume
from agentrt.cli.run import run as run_command
from agentrt.cli.serve import serve
from agentrt.cli.settings import settings_sources
from agentrt.cli.top import top
from agentrt.errors import AgentrtError
from agentrt.version import __version__

USAGE_ERROR = 2

#: Other distributions add commands through this entry-point group:
#: name = "module:attribute", a function or an App.
COMMAND_GROUP = "agentrt.commands"

#: Of `agentrt bench`, which is contributed by our own tools.
BENCH_HELP = "Run benchmarks of agents: same scores, how much sooner?"

_Verbose = Annotated[
    int,
    Parameter(
        name=["--verbose", "-v"], count=True, negative="", show_default=False, show_env_var=False
    ),
]
_Quiet = Annotated[
    bool,
    Parameter(name=["--quiet", "-q"], negative="", show_default=False, show_env_var=False),
]

HELP = """Run LLM agents as programs on an engine that knows programs.

From nothing to a running agent:

    agentrt engine install
    agentrt models fetch
    agentrt run examples/repo_detective.py -n 6

Which policy, how much KV memory? On a trace, without a GPU:

    agentrt replay traces/repo_detective.jsonl --kv-tokens 4k

Every option can also be set by a variable, AGENTRT_ENGINE_INSTALL_DEVICE=cpu, or in a file
agentrt.toml here or in a parent folder, [engine.install] device = "cpu". A flag wins over a
variable, a variable over a file."""


def build_app() -> App:
    """The application with all commands."""
    app = App(
        name="agentrt",
        help=HELP,
        help_format="markdown",
        version=f"agentrt {__version__}",
        config=settings_sources(),
        console=console.out,
        error_console=console.err,
        suppress_keyboard_interrupt=False,
    )
    for command in (
        calibrate,
        doctor,
        engine.app,
        learned.app,
        lora.app,
        models.app,
        plan,
        predict.app,
        replay,
        resume,
        run_command,
        runs.app,
        serve,
        top,
        trace.app,
    ):
        app.command(command)
    for entry in entry_points(group=COMMAND_GROUP):
        distribution = entry.dist.name if entry.dist else "?"
        # None is imported before it is used, so what the list says of ours stands here.
        ours = (distribution, entry.name) == ("agentrt", "bench")
        about = BENCH_HELP if ours else f"From {distribution}."
        app.command(entry.value, name=entry.name, help=about)

    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        verbose: _Verbose = 0,
        quiet: _Quiet = False,
    ) -> object:
        """Common to all commands.

        Parameters
        ----------
        verbose
            Log more: -v information, -vv everything.
        quiet
            No progress, and log errors only.
        """
        set_verbosity(-1 if quiet else verbose)
        return app(tokens, exit_on_error=False, print_error=False, result_action="return_value")

    app.meta.default(launch)
    app.meta.suppress_keyboard_interrupt = False
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code. Errors are printed on stderr."""
    try:
        result = build_app().meta(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
        sys.stdout.flush()
    except CycloptsError as error:
        command = " ".join(["agentrt", *(error.command_chain or ())])
        console.print_error(str(error), hint=f"{command} --help")
        return USAGE_ERROR
    except AgentrtError as error:
        console.print_error(str(error), hint=error.hint)
        return 1
    except KeyboardInterrupt:
        console.print_error("interrupted")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of stdout is gone (`| head`); the interpreter must not flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the `agentrt` script."""
    signal.signal(signal.SIGTERM, _exit_on_sigterm)
    sys.exit(run(sys.argv[1:]))


def set_verbosity(level: int) -> None:
    """Logging for the whole process: -1 errors only and no progress, 0 warnings, 1, 2."""
    from rich.logging import RichHandler

    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    logging.basicConfig(
        level=levels.get(level, logging.DEBUG),
        format="%(name)s: %(message)s",
        handlers=[RichHandler(console=console.err, show_path=False, show_time=level > 0)],
        force=True,
    )
    console.progress.quiet = level < 0


def _exit_on_sigterm(number: int, _frame: FrameType | None) -> Never:
    # As an exception, so that `finally` and `with` stop what the command started.
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
