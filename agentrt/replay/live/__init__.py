"""The programs of a trace on live engines: real requests in real time, measured at the client.

For benchmarks, with programs made in memory:

    async with open_engine(EngineAddress("http://127.0.0.1:30000")) as engine:
        run = await replay_live(plans, engine, ProgramList(1, (0, 1), (0.0, 0.5)))
    run.outcome, run.outputs, run.failures
"""

from __future__ import annotations

from agentrt.replay.live.address import EngineAddress
from agentrt.replay.live.drive import replay_live
from agentrt.replay.live.engine import LiveEngine, open_engine
from agentrt.replay.live.live_row import live_rows, mean_jct_s, prefilled_tokens
from agentrt.replay.live.outputs import TurnOutput, first_difference, first_differences
from agentrt.replay.live.paired import PairedRatio, paired_ratio
from agentrt.replay.live.run import Failure, HintMode, LiveRun, RunSettings

__all__ = [
    "EngineAddress",
    "Failure",
    "HintMode",
    "LiveEngine",
    "LiveRun",
    "PairedRatio",
    "RunSettings",
    "TurnOutput",
    "first_difference",
    "first_differences",
    "live_rows",
    "mean_jct_s",
    "open_engine",
    "paired_ratio",
    "prefilled_tokens",
    "replay_live",
]
