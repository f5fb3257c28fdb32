"""What is said of an entry that has ended."""

from __future__ import annotations

from dataclasses import dataclass

from agentrt_tools.bench.failures import ends_the_run, kind_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a checker says, or why it could not.

    Attributes:
        problem: kind of what was wrong, in the words of the benchmark; empty if valid.
        message: more of it.
    """

    valid: bool
    problem: str = ""
    message: str = ""


def verdict_of(error: Exception) -> Verdict:
    """The failure of an entry.

    Raises:
        Exception: the error itself, if no other entry would fare better.
    """
    if ends_the_run(error):
        raise error
    return Verdict(False, kind_of(error), str(error))
