"""A fixer that repairs a function, and two reviewers who judge the repair.

    agentrt run examples/fixer.py:fixer

The reviewers are forks: they know all that the fixer has read and done, from its KV cache.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from agentrt import Budget, Context, agent
from agentrt_tools import bash

BROKEN = "def total(prices):\n    return sum(prices[1:])\n"


class Verdict(BaseModel):
    """What a reviewer thinks of a repair."""

    approved: bool
    reason: Annotated[str, Field(max_length=80)]


@agent(budget=Budget(turns=2), max_tokens=96, temperature=0.0)
async def reviewer(ctx: Context[Verdict], aspect: str) -> Verdict:
    """You review repairs."""
    return await ctx.loop(f"Judge the {aspect} of the repair.")


@agent(tools=[bash], budget=Budget(turns=12, tool_calls=6), max_tokens=96, temperature=0.0)
async def fixer(ctx: Context, bug: str = "total() in cart.py leaves an item out.") -> list[Verdict]:
    """You repair Python functions. Read the file with cat, then change it with sed."""
    (ctx.workspace / "cart.py").write_text(BROKEN)
    request = f"Repair this: {bug}"
    verdicts: list[Verdict] = []
    for _attempt in range(2):
        await ctx.loop(request, max_turns=3)
        reviews = [ctx.spawn(reviewer.fork(), aspect) for aspect in ("correctness", "style")]
        verdicts = await ctx.gather(*reviews)
        if all(verdict.approved for verdict in verdicts):
            break
        request = "Try again: " + " ".join(verdict.reason for verdict in verdicts)
    return verdicts
