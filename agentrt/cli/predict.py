"""`agentrt predict eval`: how well pauses are predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from agentrt.cli import console
from agentrt.cli.options import JsonTarget
from agentrt.errors import SettingError
from agentrt.predict.evaluation import SCORED, Evaluation, as_document, evaluate
from agentrt.predict.pauses import pauses
from agentrt.replay.trace_file import load_trace

app = App(name="predict", help="How long tools will take: predictions, and how good they are.")

_SHOWN = (0.5, 0.75, 0.9, 0.95)


@app.command(name="eval")
def eval_(
    *files: Path,
    active: Annotated[int, Parameter(name=["--active", "-c"])] = 16,
    json: JsonTarget = None,
) -> None:
    """Predict every pause of a trace when it begins, and learn it when it ends.

    The loss is the pinball loss, in seconds, in the mean over the probabilities 0.1, 0.25, 0.5,
    0.75, 0.9 and 0.95; × CDF is it over that of Continuum's rule, the recorded durations of the
    tool. The columns to the right say which share of the pauses was no longer than predicted:
    under p90 it should be 90 %. Programs are taken in the order of the trace; nothing of the
    future is known.

    Examples:

        agentrt predict eval traces/repo_detective.jsonl
        agentrt predict eval monday.jsonl.gz tuesday.jsonl.gz --json -

    Parameters
    ----------
    files
        Traces of any known format.
    active
        Programs that are active at once.
    """
    if not files:
        raise SettingError(
            "no trace was given, expected at least one FILE", hint="agentrt predict eval FILE"
        )
    if active < 1:
        raise SettingError(f"--active is {active}: expected at least 1")
    found: list[tuple[str, Evaluation]] = []
    for file in files:
        evaluation = evaluate(pauses(load_trace(file).programs, active))
        if not evaluation.pauses:
            raise SettingError(f"{file}: no pause for a tool has a known length")
        found.append((str(file), evaluation))
    to = console.results(json)
    for number, (trace, evaluation) in enumerate(found):
        if number:
            to.print()
        to.print(f"{trace}: {evaluation.pauses:,} pauses", markup=False, soft_wrap=True)
        to.print(_table(evaluation))
    console.write_json(json, as_document(found))


def _table(evaluation: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("predicted from")
    for heading in ("loss s", "× CDF", *(f"p{100 * q:g}" for q in _SHOWN)):
        table.add_column(heading, justify="right")
    for name, score in evaluation.scores.items():
        table.add_row(
            name,
            f"{score.loss / (len(SCORED) * evaluation.pauses):.3f}",
            f"{evaluation.relative(name):.3f}",
            *(f"{score.covered[q] / evaluation.pauses:.0%}" for q in _SHOWN),
        )
    return table
