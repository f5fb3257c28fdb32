"""The report of a replay: one HTML file that needs nothing else."""

from __future__ import annotations

from agentrt.replay.report.content import ReportContent, SweepPoint
from agentrt.replay.report.page import write_report

__all__ = ["ReportContent", "SweepPoint", "write_report"]
