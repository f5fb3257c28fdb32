"""Durable runs: what programs did, kept so that a run can go on after a crash.

A run is a folder. Its journal, an SQLite file, gets an event for every finished turn and tool call
before the program goes on, and one before a tool that changes something begins. To resume is to
run the agents' code again with the recorded replies and results: nothing that is in the journal is
asked of the model or done by a tool a second time.
"""

from __future__ import annotations

from agentrt.journal.journal import Journal
from agentrt.journal.program_journal import ProgramJournal
from agentrt.journal.store import Durability

__all__ = ["Durability", "Journal", "ProgramJournal"]
