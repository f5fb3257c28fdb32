"""`oracle-*`: bounds. Each is told what no engine can know, so they run in the simulator only."""

from __future__ import annotations

from agentrt_engine.policy.guard import Guard
from agentrt_engine.policy.guard_srpt import GuardSrpt
from agentrt_engine.policy.program_fcfs import ProgramFcfs
from agentrt_engine.policy.protocol import Memory


class OracleRetention(ProgramFcfs):
    """Program FCFS; idle KV costs no memory and is never lost: no retention can do better."""

    name = "oracle-retention"
    order_only = False
    memory = Memory.FREE_RETENTION


class InfiniteKv(ProgramFcfs):
    """Program FCFS with unlimited memory: what more memory could bring at most."""

    name = "infinite-kv"
    order_only = False
    memory = Memory.UNLIMITED


class OraclePauses(Guard):
    """`guard`, told when each pause will end."""

    name = "oracle-pauses"
    knows_future = True


class OracleWork(GuardSrpt):
    """`guard-srpt`, told how much work each program has left."""

    name = "oracle-work"
    knows_future = True
