"""Programs of other agent frameworks on an agentrt engine.

Without any of this an engine knows a program by one header, and infers its tools from what the
model asks for and from the next request. With it, the engine is told when tools start and end and
when the program has ended.
"""

from __future__ import annotations

from agentrt.interop.attached import AttachedProgram, attach

__all__ = ["AttachedProgram", "attach"]
