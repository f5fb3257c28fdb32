"""A run as a graph: its programs, turns and tool calls, and what waited for what."""

from __future__ import annotations

from agentrt.workflow.critical_path import critical_path, time_on_path
from agentrt.workflow.graph import StepKind, workflow_graph
from agentrt.workflow.graph_file import write_graph
from agentrt.workflow.waits import Wait, waits

__all__ = [
    "StepKind",
    "Wait",
    "critical_path",
    "time_on_path",
    "waits",
    "workflow_graph",
    "write_graph",
]
