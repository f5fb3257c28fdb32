"""What the HTTP process and the scheduler of an engine say to each other.

SGLang's own channel carries them, to every tensor-parallel rank in the same order.
"""

from __future__ import annotations

from sglang.srt.managers.io_struct import BaseReq, hook_custom_types


class Ask(BaseReq, kw_only=True):  # type: ignore[call-arg]
    """A question to the scheduler; `rid` names it."""

    question: str
    payload: bytes


class Answer(BaseReq, kw_only=True):  # type: ignore[call-arg]
    """Its answer, with the same `rid`."""

    payload: bytes


class Tick(BaseReq, kw_only=True):  # type: ignore[call-arg]
    """The time of rank 0, seconds: every rank decides by it and by no clock of its own."""

    now: float


hook_custom_types(Ask, Answer, Tick)
