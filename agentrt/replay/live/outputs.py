"""What engines generated, turn by turn, in a file, and where two engines differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agentrt.errors import ReplayError
from agentrt.replay.atomic_file import atomic_file


class TurnOutput(msgspec.Struct, frozen=True):
    """One turn that ended; a line of the file.

    Attributes:
        engine: name of its column.
        program: as in the trace, `~2` behind it for its second copy in a run.
        turn: from 0.
        cached_tokens, output_ids: None where the engine does not say.
    """

    engine: str
    seed: int
    repeat: int
    program: str
    turn: int
    prompt_tokens: int
    cached_tokens: int | None
    output_tokens: int
    output_ids: list[int] | None

    @property
    def place(self) -> tuple[int, int, str, int]:
        """What it shares with the same turn on another engine."""
        return self.seed, self.repeat, self.program, self.turn


@dataclass(frozen=True, slots=True)
class Difference:
    """The first token of a program that two engines generated differently.

    Attributes:
        position: in the output of the turn, from 0.
        a, b: the ids; None where an output ended before.
    """

    seed: int
    repeat: int
    program: str
    turn: int
    position: int
    a: int | None
    b: int | None


def write_outputs(path: Path, outputs: Iterable[TurnOutput]) -> None:
    """Write a line for each, compressed if the name ends in `.gz`; the file appears whole.

    Raises:
        SettingError: the file cannot be written.
    """
    with atomic_file(path, what="outputs") as file:
        for output in outputs:
            file.write(msgspec.json.encode(output) + b"\n")


def read_outputs(path: Path, engine: str | None = None) -> list[TurnOutput]:
    """The lines of a file that is not compressed; only those of one engine, if one is named.

    Raises:
        OSError, msgspec.DecodeError: it cannot be read.
    """
    lines = path.read_bytes().splitlines()
    outputs = [msgspec.json.decode(line, type=TurnOutput) for line in lines]
    return [output for output in outputs if engine in (None, output.engine)]


def first_differences(a: Iterable[TurnOutput], b: Iterable[TurnOutput]) -> list[Difference]:
    """Of each program of each run, the first token that differs; of equal programs nothing.

    Later differences follow from the first, because outputs are part of the next prompts.

    Args:
        a, b: outputs of one engine each, of the same runs.

    Raises:
        ReplayError: a turn is only in one of them, or comes without token ids.
    """
    ours, theirs = _by_place(a), _by_place(b)
    if lonely := ours.keys() ^ theirs.keys():
        seed, repeat, program, turn = min(lonely)
        raise ReplayError(
            f"seed {seed}, repeat {repeat}: turn {turn} of program {program} has an output on one "
            "engine only",
            hint="compare runs in which no program failed",
        )
    found: dict[tuple[int, int, str], Difference] = {}
    for place in sorted(ours):
        at = _first(_ids(ours[place]), _ids(theirs[place]))
        if at is not None and place[:3] not in found:
            found[place[:3]] = Difference(*place, *at)
    return list(found.values())


def first_difference(a: Iterable[TurnOutput], b: Iterable[TurnOutput]) -> Difference | None:
    """The first of `first_differences` by seed, repeat and program; None if all is equal."""
    return next(iter(first_differences(a, b)), None)


def _by_place(outputs: Iterable[TurnOutput]) -> dict[tuple[int, int, str, int], TurnOutput]:
    return {output.place: output for output in outputs}


def _ids(output: TurnOutput) -> list[int]:
    if output.output_ids is None:
        raise ReplayError(f"the engine {output.engine} did not say which tokens it generated")
    return output.output_ids


def _first(a: Sequence[int], b: Sequence[int]) -> tuple[int, int | None, int | None] | None:
    for position in range(max(len(a), len(b))):
        left = a[position] if position < len(a) else None
        right = b[position] if position < len(b) else None
        if left != right:
            return position, left, right
    return None
