"""Scheduler hooks: every request gets its program, the policy orders the waiting queue."""

from __future__ import annotations

import time
from typing import Any

from sglang.srt.plugins.hook_registry import HookRegistry, HookType

from agentrt_engine.policy import Policy, Program, Turn
from agentrt_engine.sglang.programs import ProgramTable
from agentrt_engine.wire.identity import tag_from_custom_params

_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
_SCHEDULE_POLICY = "sglang.srt.managers.schedule_policy.SchedulePolicy"

#: Attribute of an SGLang `Req` that holds its program.
_PROGRAM = "agentrt_program"


def register(policy: Policy) -> None:
    """Hook the scheduler of this process; the policy is one that only orders."""
    programs = ProgramTable()

    def tag_request(req: Any, _scheduler: Any, recv_req: Any, *_args: Any, **_kwargs: Any) -> None:
        tag = tag_from_custom_params(recv_req.sampling_params.custom_params)
        if tag is None:
            setattr(req, _PROGRAM, programs.anonymous(req.rid, time.monotonic()))
            return
        setattr(req, _PROGRAM, programs.program(tag.program_id, time.monotonic()))
        if tag.final:
            programs.forget(tag.program_id)

    def program_of(req: Any) -> Program:
        if not hasattr(req, _PROGRAM):  # not a request for generation: embeddings
            setattr(req, _PROGRAM, programs.anonymous(req.rid, time.monotonic()))
        program: Program = getattr(req, _PROGRAM)
        return program

    def rank(req: Any) -> tuple[float, ...]:
        turn = Turn(
            program_of(req),
            queued_s=req.time_stats.wait_queue_entry_time,
            prompt_tokens=len(req.origin_input_ids),
            preempted=req.retracted_stain,
        )
        return policy.rank(time.monotonic(), turn)

    def order_queue(
        _result: Any, _policy: Any, waiting_queue: list[Any], *_args: Any, **_kwargs: Any
    ) -> None:
        if len(waiting_queue) > 1:
            waiting_queue.sort(key=rank)

    HookRegistry.register(f"{_SCHEDULER}._create_generation_req", tag_request, HookType.AFTER)
    HookRegistry.register(f"{_SCHEDULE_POLICY}.calc_priority", order_queue, HookType.AFTER)
