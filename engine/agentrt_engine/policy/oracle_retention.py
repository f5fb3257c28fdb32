"""`oracle-retention`: idle KV costs no memory and is never lost. A bound, simulated only."""

from __future__ import annotations

from agentrt_engine.policy.program_fcfs import ProgramFcfs
from agentrt_engine.policy.protocol import Memory


class OracleRetention(ProgramFcfs):
    """Program FCFS with free retention: what no retention policy can do better."""

    name = "oracle-retention"
    order_only = False
    memory = Memory.FREE_RETENTION


class InfiniteKv(ProgramFcfs):
    """Program FCFS with unlimited memory: what more memory could bring at most."""

    name = "infinite-kv"
    order_only = False
    memory = Memory.UNLIMITED
