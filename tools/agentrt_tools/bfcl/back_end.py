"""Main module of a process that holds the tool back ends of one entry.

    python back_end.py

The package keeps tool instances in globals of a module; a process of its own keeps entries apart,
and can be killed where a back end hangs. Messages are lines of JSON, on standard input and output:

{"entry": {…}, "reference": [[…], …]}       first; answered with {"ready": true}
{"call": "cd(folder='document')"}           answered with {"result": "…"}
{"check": [[["cd(folder='document')"]]]}    calls by turn and step; answered with {"verdict": {…}}

It imports nothing but the package, so that it starts in a moment.
"""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

#: What the package calls the model whose instances these are.
_MODEL = "agentrt"


class BackEnd:
    """The instances of one entry.

    Args:
        entry: as the package has it.
        reference: calls of the reference solution by turn.
    """

    def __init__(self, entry: dict[str, Any], reference: list[list[str]]) -> None:
        self._entry = entry
        self._reference = reference
        self._category = str(entry["id"]).rsplit("_", 1)[0]

    def call(self, source: str) -> str:
        """Run one call; what it returned as text, or what went wrong in the package's words."""
        from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import (
            execute_multi_turn_func_call,
        )

        results, _instances = execute_multi_turn_func_call(
            [source],
            self._entry["initial_config"],
            self._entry["involved_classes"],
            _MODEL,
            self._entry["id"],
            long_context="long_context" in self._category,
        )
        return str(results[0])

    def check(self, calls: list[list[list[str]]]) -> dict[str, Any]:
        """What the package's checker says of the calls: whether they are valid, else why not."""
        from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import multi_turn_checker

        verdict = multi_turn_checker(calls, self._reference, self._entry, self._category, _MODEL)
        kept = ("valid", "error_type", "error_message")
        return {name: verdict[name] for name in kept if name in verdict}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more."""
    back_end: BackEnd | None = None
    for line in requests:
        match json.loads(line):
            case {"entry": dict(entry), "reference": list(reference)}:
                back_end = BackEnd(entry, reference)
                answer: dict[str, Any] = {"ready": True}
            case {"call": str(source)} if back_end is not None:
                answer = {"result": back_end.call(source)}
            case {"check": list(calls)} if back_end is not None:
                answer = {"verdict": back_end.check(calls)}
            case other:
                raise ValueError(f"unknown request {other!r}")
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    channel = sys.stdout
    sys.stdout = sys.stderr  # whatever a back end prints is no answer
    serve(sys.stdin, channel)
