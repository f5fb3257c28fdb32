"""Scheduler hooks: every request gets its program, the policy orders the waiting queue."""

from __future__ import annotations

from typing import Any

from sglang.srt.plugins.hook_registry import HookRegistry, HookType

from agentrt_engine.policy import Policy, WaitingTurn
from agentrt_engine.sglang.programs import ProgramTable
from agentrt_engine.wire.identity import tag_from_custom_params

_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
_SCHEDULE_POLICY = "sglang.srt.managers.schedule_policy.SchedulePolicy"

#: Attribute of an SGLang `Req` that holds its program's arrival position.
_ARRIVAL = "agentrt_arrival"


def register(policy: Policy) -> None:
    """Hook the scheduler of this process."""
    programs = ProgramTable()

    def tag_request(req: Any, _scheduler: Any, recv_req: Any, *_args: Any, **_kwargs: Any) -> None:
        tag = tag_from_custom_params(recv_req.sampling_params.custom_params)
        if tag is None:
            setattr(req, _ARRIVAL, programs.anonymous_arrival())
            return
        setattr(req, _ARRIVAL, programs.arrival(tag.program_id))
        if tag.final:
            programs.forget(tag.program_id)

    def waiting_turn(req: Any) -> WaitingTurn:
        if not hasattr(req, _ARRIVAL):  # not a request for generation: embeddings
            setattr(req, _ARRIVAL, programs.anonymous_arrival())
        return WaitingTurn(
            turn_id=req.rid,
            program_arrival=getattr(req, _ARRIVAL),
            queued_s=req.time_stats.wait_queue_entry_time,
            preempted=req.retracted_stain,
        )

    def order_queue(
        _result: Any, _policy: Any, waiting_queue: list[Any], *_args: Any, **_kwargs: Any
    ) -> None:
        if len(waiting_queue) > 1:
            turns = [waiting_turn(req) for req in waiting_queue]
            requests = {id(turn): req for turn, req in zip(turns, waiting_queue, strict=True)}
            waiting_queue[:] = [requests.pop(id(turn)) for turn in policy.order(turns)]
            if requests:
                raise RuntimeError(f"policy {policy.name} dropped {len(requests)} waiting turns")

    HookRegistry.register(f"{_SCHEDULER}._create_generation_req", tag_request, HookType.AFTER)
    HookRegistry.register(f"{_SCHEDULE_POLICY}.calc_priority", order_queue, HookType.AFTER)
