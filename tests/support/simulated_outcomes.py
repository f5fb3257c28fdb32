"""What a simulator comes to, as JSON: run by itself, with the compiled or the plain modules.

    python -m tests.support.simulated_outcomes POLICY…

The modules are those on PYTHONPATH. `tests.support.simulated` cannot be imported here, because
Python cannot subclass the class of a compiled engine.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import msgspec

from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.outcome import RunOutcome
from agentrt_engine.policy import Costs, make_policy
from agentrt_engine.simulated import engine
from agentrt_engine.simulated.adapters import Adapters
from agentrt_engine.simulated.arrivals import Arrivals, ClosedLoop, OpenLoop
from agentrt_engine.simulated.compiled import is_compiled
from agentrt_engine.simulated.run import simulate
from agentrt_engine.simulated.settings import EngineSettings
from agentrt_engine.simulated.workload import ProgramPlan, plan_workload
from agentrt_engine.wire.trace import ProgramRecord
from tests.support.workloads import Shape, workload

COSTS = Costs(fixed_s=0.005, decode_s=3e-7, prefill_s=2e-4, position_s=8e-8, host_s=1e-5)
SETTINGS = EngineSettings(COSTS, 1600, chunk_tokens=200, max_running=5, host_tokens=2000)
#: Late enough that the virtual time, in picoseconds, does not fit a float any more.
START_S = 20_000.0


class Report(msgspec.Struct):
    """Of one simulator.

    Attributes:
        file: where its event loop is from.
        outcomes: per policy, of the open loop, of the closed one, and of those with adapters.
    """

    compiled: bool
    file: str
    outcomes: dict[str, list[RunOutcome]]


def report(policies: list[str]) -> Report:
    """Run the same workload under each policy."""
    records = workload(7, Shape(programs=60))
    plans = plan_workload(records, page=SETTINGS.page)
    adapted = [msgspec.structs.replace(each, adapter=each.agent) for each in records]
    return Report(
        is_compiled(),
        str(engine.__file__),
        {
            policy: [
                outcome(policy, dense(plans), SETTINGS),
                outcome(policy, ClosedLoop(plans, 6), SETTINGS),
                *(with_adapters(policy, adapted, sharing) for sharing in LoraSharing),
            ]
            for policy in policies
        },
    )


def with_adapters(policy: str, records: list[ProgramRecord], sharing: LoraSharing) -> RunOutcome:
    """One run of programs with two adapters."""
    adapters = Adapters(2, sharing, rank=64)
    settings = replace(
        SETTINGS, costs=adapters.costs(COSTS), kv_tokens=adapters.fitting(SETTINGS.kv_tokens)
    )
    plans = plan_workload(records, page=settings.page, sharing=sharing)
    return outcome(policy, ClosedLoop(plans, 6), settings)


def dense(plans: list[ProgramPlan]) -> OpenLoop:
    """More arrivals than the engine can serve at once."""
    return OpenLoop(plans, [START_S + (plan.arrival_s or 0.0) / 3 for plan in plans])


def outcome(policy: str, arrivals: Arrivals, settings: EngineSettings) -> RunOutcome:
    """One run, with its timeline."""
    made = simulate(arrivals, make_policy(policy), settings, record=True)
    made.wall_s = 0.0  # all that may differ
    return made


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(report(sys.argv[1:])))
