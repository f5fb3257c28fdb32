"""The tool back ends of one entry, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from agentrt.text import excerpt
from agentrt_tools.bench.verdict import Verdict
from agentrt_tools.bfcl.entries import Entry

#: Starts the process: the file itself, because its package imports much more.
COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("back_end.py")))

#: How long the package's checker may take: it runs all calls again, and those of the reference.
CHECK_S = 120.0

#: An answer that is longer is no answer, bytes.
_LONGEST = 64 * 2**20


class WorldLost(Exception):
    """The process of the back ends died, was killed, or says what nobody understands."""


class World:
    """The process; an async context manager that ends it, whatever it does.

    Attributes:
        lost: why it can no longer be used; empty as long as it can.

    Args:
        entry: whose back ends these are.
        command: that starts them.
        folder: where entries of the memory categories find and leave their memory.
    """

    def __init__(
        self, entry: Entry, command: Sequence[str] = COMMAND, folder: Path | None = None
    ) -> None:
        self._folder = folder
        self.lost = ""
        self._entry = entry
        self._command = command
        self._process: Process
        self._unread = b""

    async def __aenter__(self) -> Self:
        """Start it.

        Raises:
            WorldLost: it does not begin as it should.
        """
        self._process = await anyio.open_process(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment(),
        )
        try:
            folder = None if self._folder is None else str(self._folder.resolve())
            about = {"entry": self._entry.raw, "reference": self._entry.reference}
            await self._ask(about | {"folder": folder}, "ready", "the start")
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end()

    async def call(self, source: str) -> str:
        """What a call gives, as text. One that is cancelled takes the process along.

        Args:
            source: made by `render`.

        Raises:
            WorldLost: there is no process any more, or it answers with garbage.
        """
        name = source.partition("(")[0]
        return str(await self._ask({"call": source}, "result", f"the call of {name}"))

    async def check(self, calls: Sequence[Sequence[str]]) -> Verdict:
        """What the package's checker says of calls, by turn; each is a step of its own there.

        Raises:
            WorldLost: there is no process any more, or it gives no verdict in time.
        """
        return await self._verdict({"check": [[[call] for call in turn] for turn in calls]})

    async def check_answer(self, answer: str, accepted: Sequence[str]) -> Verdict:
        """What the package's checker says of an answer that has to contain one of some texts.

        Raises:
            WorldLost: as `check`.
        """
        return await self._verdict({"answer": answer, "accepted": accepted})

    async def prompt(self) -> str:
        """What the package tells a model of its memory and of its answers.

        Raises:
            WorldLost: there is no process any more, or it answers with garbage.
        """
        return str(await self._ask({"prompt": True}, "prompt", "reading the prompt"))

    async def keep(self) -> None:
        """Leave the memory for the entries that come after.

        Raises:
            WorldLost: as `prompt`.
        """
        await self._ask({"keep": True}, "kept", "keeping the memory")

    async def _verdict(self, request: dict[str, Any]) -> Verdict:
        try:
            with anyio.fail_after(CHECK_S):
                found = await self._ask(request, "verdict", "the check")
        except TimeoutError as error:
            raise WorldLost(f"the checker gave no verdict within {CHECK_S:g} s") from error
        message = found.get("error_message", "")
        return Verdict(found["valid"] is True, found.get("error_type", ""), str(message))

    def _environment(self) -> dict[str, str]:
        variables = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        if self._folder is not None:  # or the package makes folders beside itself
            variables["BFCL_PROJECT_ROOT"] = str(self._folder.resolve())
        return variables

    async def _ask(self, request: dict[str, Any], wanted: str, what: str) -> Any:
        if self.lost:
            raise WorldLost(self.lost)
        self.lost = f"{what} was cut off, and its process with it"
        answered = False
        try:
            await _stream(self._process.stdin).send(json.dumps(request).encode() + b"\n")
            line = await self._line()
            answered = True
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream) as error:
            with anyio.CancelScope(shield=True):
                code = await self._process.wait()
            self.lost = f"its process died with exit code {code}"
            raise WorldLost(self.lost) from error
        finally:
            if not answered:
                self._kill()
        try:
            answer = json.loads(line)[wanted]
        except (ValueError, LookupError, TypeError) as error:
            self.lost = f"its process said {excerpt(line.decode(errors='replace'))}"
            self._kill()
            raise WorldLost(self.lost) from error
        self.lost = ""
        return answer

    async def _line(self) -> bytes:
        assert isinstance(self._process.stdout, ByteReceiveStream)
        while b"\n" not in self._unread and len(self._unread) < _LONGEST:
            self._unread += await self._process.stdout.receive()
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _end(self) -> None:
        with anyio.CancelScope(shield=True):
            self._kill()
            await self._process.aclose()


def _stream(stream: ByteSendStream | None) -> ByteSendStream:
    assert stream is not None
    return stream
