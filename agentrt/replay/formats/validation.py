"""What must hold in every trace, whatever format it came from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from agentrt.errors import TraceError
from agentrt.replay.formats.decoding import bad_value
from agentrt_engine.wire.trace import ProgramRecord, TurnRecord


def check_program(program: ProgramRecord, place: str) -> None:
    """Check one program by itself.

    Args:
        place: file, and line where known, for the message.

    Raises:
        TraceError: a value is outside its range.
    """
    if not program.program_id:
        raise bad_value(place, "program_id", "", "a name that is not empty")
    if not program.turns:
        raise bad_value(place, "turns", [], "at least one turn")
    optional = {"arrival_s": program.arrival_s, "prefix_tokens": program.prefix_tokens}
    for field, value in optional.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise bad_value(place, field, value, "a number not below 0")
    for index, turn in enumerate(program.turns):
        _check_turn(turn, program.block_tokens, place, f"turns[{index}]")


def _check_turn(turn: TurnRecord, block_tokens: int | None, place: str, path: str) -> None:
    if turn.input_tokens < 1:
        raise bad_value(place, f"{path}.input_tokens", turn.input_tokens, "at least 1")
    if not 0 <= turn.new_tokens <= turn.input_tokens:
        expected = f"0 to input_tokens, {turn.input_tokens}"
        raise bad_value(place, f"{path}.new_tokens", turn.new_tokens, expected)
    if turn.output_tokens < 0:
        raise bad_value(place, f"{path}.output_tokens", turn.output_tokens, "not below 0")
    if turn.pause_s is not None and not (math.isfinite(turn.pause_s) and turn.pause_s >= 0):
        raise bad_value(place, f"{path}.pause_s", turn.pause_s, "null or a number not below 0")
    for index, tool in enumerate(turn.tools):
        if tool.seconds is not None and not (math.isfinite(tool.seconds) and tool.seconds >= 0):
            field = f"{path}.tools[{index}].seconds"
            raise bad_value(place, field, tool.seconds, "null or a number not below 0")
    if turn.hash_ids:
        _check_blocks(turn, block_tokens, place, path)


def _check_blocks(turn: TurnRecord, block_tokens: int | None, place: str, path: str) -> None:
    if block_tokens is None or block_tokens < 1:
        raise bad_value(place, "block_tokens", block_tokens, "the tokens of a block of hash_ids")
    whole = turn.input_tokens // block_tokens
    if not whole <= len(turn.hash_ids) <= whole + 1:
        raise TraceError(
            f"{place}: {path}.hash_ids has {len(turn.hash_ids)} blocks of {block_tokens} tokens, "
            f"expected {whole} or {whole + 1} for {turn.input_tokens} tokens",
            hint="block_tokens must be the block size of the hash_ids",
        )


def check_programs(programs: Sequence[ProgramRecord], place: str) -> None:
    """Check how the programs of a trace refer to each other.

    Raises:
        TraceError: an id occurs twice, a turn waits for a program that is not there or is not a
            child, or programs are their own ancestors.
    """
    by_id: dict[str, ProgramRecord] = {}
    for program in programs:
        if program.program_id in by_id:
            raise bad_value(place, "program_id", program.program_id, "an id that occurs once")
        by_id[program.program_id] = program
    for program in programs:
        for index, turn in enumerate(program.turns):
            for child in turn.waits_for:
                if child not in by_id or by_id[child].parent_id != program.program_id:
                    raise TraceError(
                        f"{place}: program {program.program_id}, turns[{index}].waits_for names "
                        f"{child!r}, expected a program of the trace whose parent_id is "
                        f"{program.program_id!r}",
                        hint="add the child program or remove it from waits_for",
                    )
    _check_ancestors(by_id, place)


def _check_ancestors(by_id: dict[str, ProgramRecord], place: str) -> None:
    clean: set[str] = set()
    for start in by_id:
        path: list[str] = []
        at: str | None = start
        while at is not None and at in by_id and at not in clean:
            if at in path:
                raise bad_value(place, "parent_id", at, "no program among its own ancestors")
            path.append(at)
            at = by_id[at].parent_id
        clean.update(path)


def raise_zero_outputs(programs: list[ProgramRecord], notes: list[str]) -> None:
    """Give turns without output one token, and say so.

    An engine always samples one token after a prompt; no cost model knows a turn without it.
    """
    changed = 0
    for index, program in enumerate(programs):
        empty = sum(turn.output_tokens == 0 for turn in program.turns)
        if empty:
            changed += empty
            turns = tuple(
                turn if turn.output_tokens else msgspec.structs.replace(turn, output_tokens=1)
                for turn in program.turns
            )
            programs[index] = msgspec.structs.replace(program, turns=turns)
    if changed:
        notes.append(f"{counted(changed, 'turn')} without output: counted as 1 token each")


def counted(number: int, noun: str) -> str:
    """The number with its noun, in the plural where there are several."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
