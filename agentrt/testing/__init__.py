"""Tests of agents without an engine: scripted replies and tools, time that only passes when asked.

    def test_it_counts() -> None:
        model = ScriptedModel([call("count_lines", path="notes"), answer("3")])
        result = run_agent(model, counter, "How long is notes?")
        assert result.output == "3"

Nothing here opens a socket or sleeps. `agentrt_pytest` has the fixtures.
"""

from __future__ import annotations

from agentrt.testing.network import NetworkBlocked, blocked_network
from agentrt.testing.run import run_agent
from agentrt.testing.scripted_model import ModelRequest, ScriptedModel
from agentrt.testing.scripted_tool import ScriptedTool, Takes, scripted_tool
from agentrt.testing.steps import Step, answer, call, cut, dies, refuses, says
from agentrt.testing.virtual_time import Deadlock, ManualClock, in_virtual_time

__all__ = [
    "Deadlock",
    "ManualClock",
    "ModelRequest",
    "NetworkBlocked",
    "ScriptedModel",
    "ScriptedTool",
    "Step",
    "Takes",
    "answer",
    "blocked_network",
    "call",
    "cut",
    "dies",
    "in_virtual_time",
    "refuses",
    "run_agent",
    "says",
    "scripted_tool",
]
