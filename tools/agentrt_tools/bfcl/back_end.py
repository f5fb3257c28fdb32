"""Main module of a process that holds the tool back ends of one entry.

    python back_end.py

The package keeps tool instances in globals of a module; a process of its own keeps entries apart,
and can be killed where a back end hangs. Messages are lines of JSON, on standard input and output:

{"entry": {…}, "reference": [[…], …], "folder": null}    first; answered with {"ready": true}
{"call": "cd(folder='document')"}                        answered with {"result": "…"}
{"check": [[["cd(folder='document')"]]]}                 calls by turn and step; {"verdict": {…}}
{"answer": "Michael", "accepted": ["Michael"]}           the last answer; {"verdict": {…}}
{"prompt": true}                                         what the model is told; {"prompt": "…"}
{"keep": true}                                           keep it; {"kept": true}

It imports nothing but the package, so that it starts in a moment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TextIO

#: What the package calls the model whose instances these are.
_MODEL = "agentrt"


class BackEnd:
    """The instances of one entry.

    Args:
        entry: as the package has it.
        reference: calls of the reference solution by turn.
        folder: where entries of the memory categories find and leave their memory.
    """

    def __init__(
        self, entry: dict[str, Any], reference: list[list[str]], folder: str | None = None
    ) -> None:
        if folder is not None:
            [back_end] = entry["involved_classes"]
            config = {"model_result_dir": Path(folder), "scenario": entry["scenario"]}
            entry["initial_config"] = {back_end: config | {"test_id": entry["id"]}}
        self._entry = entry
        self._reference = reference
        self._category = str(entry["id"]).rsplit("_", 1)[0]

    def call(self, source: str) -> str:
        """Run one call; what it returned as text, or what went wrong in the package's words."""
        results, _instances = self._run([source])
        return str(results[0])

    def check(self, calls: list[list[list[str]]]) -> dict[str, Any]:
        """What the package's checker says of the calls: whether they are valid, else why not."""
        from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import multi_turn_checker

        verdict = multi_turn_checker(calls, self._reference, self._entry, self._category, _MODEL)
        return _kept(verdict)

    def check_answer(self, answer: str, accepted: list[str]) -> dict[str, Any]:
        """What the package's checker says of an answer."""
        from bfcl_eval.eval_checker.agentic_eval.agentic_checker import agentic_checker

        return _kept(agentic_checker(answer, accepted))

    def prompt(self) -> str:
        """What a model is told of its memory and of its answers, in the package's words."""
        from bfcl_eval.constants import default_prompts as words

        answers = words.ADDITIONAL_SYSTEM_PROMPT_FOR_AGENTIC_RESPONSE_FORMAT
        if "scenario" not in self._entry:
            return str(answers).strip()
        whole = "rec_sum" in self._category
        template = (
            words.MEMORY_BACKEND_INSTRUCTION_UNIFIED
            if whole
            else words.MEMORY_BACKEND_INSTRUCTION_CORE_ARCHIVAL
        )
        prompt = template.format(
            scenario_setting=words.MEMORY_AGENT_SETTINGS[self._entry["scenario"]],
            memory_content=self._memory()._dump_core_memory_to_context(),
        )
        if "prereq" not in self._category:
            prompt += "\n\n" + answers
        return str(prompt).strip()

    def keep(self) -> None:
        """Leave the memory for the entries that come after."""
        self._memory()._flush_memory_to_local_file()

    def _memory(self) -> Any:
        _results, instances = self._run([])
        [memory] = instances.values()
        return memory

    def _run(self, calls: list[str]) -> tuple[list[str], dict[str, Any]]:
        from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import (
            execute_multi_turn_func_call,
        )

        results, instances = execute_multi_turn_func_call(
            calls,
            self._entry["initial_config"],
            self._entry["involved_classes"],
            _MODEL,
            self._entry["id"],
            long_context="long_context" in self._category,
        )
        return results, instances


def _kept(verdict: dict[str, Any]) -> dict[str, Any]:
    kept = ("valid", "error_type", "error_message")
    return {name: verdict[name] for name in kept if name in verdict}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more."""
    back_end: BackEnd | None = None
    for line in requests:
        match json.loads(line):
            case {"entry": dict(entry), "reference": list(reference), "folder": folder}:
                back_end = BackEnd(entry, reference, folder)
                answer: dict[str, Any] = {"ready": True}
            case {"call": str(source)} if back_end is not None:
                answer = {"result": back_end.call(source)}
            case {"check": list(calls)} if back_end is not None:
                answer = {"verdict": back_end.check(calls)}
            case {"answer": str(text), "accepted": list(accepted)} if back_end is not None:
                answer = {"verdict": back_end.check_answer(text, accepted)}
            case {"prompt": True} if back_end is not None:
                answer = {"prompt": back_end.prompt()}
            case {"keep": True} if back_end is not None:
                back_end.keep()
                answer = {"kept": True}
            case other:
                raise ValueError(f"unknown request {other!r}")
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    channel = sys.stdout
    sys.stdout = sys.stderr  # whatever a back end prints is no answer
    serve(sys.stdin, channel)
