"""Where the plug-in hooks into SGLang's scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sglang.srt.managers.schedule_policy import WAITING_QUEUE_PREFIX_MATCH_MAX
from sglang.srt.managers.scheduler import NextBatchPlan
from sglang.srt.managers.utils import is_health_check_generate_req
from sglang.srt.mem_cache.common import match_kv_cache
from sglang.srt.plugins.hook_registry import HookRegistry, HookType

from agentrt_engine.sglang.messages import Ask, Tick
from agentrt_engine.sglang.scheduler.adder import program_adder
from agentrt_engine.sglang.scheduler.batch_tokens import BatchTokens
from agentrt_engine.sglang.scheduler.control import Control
from agentrt_engine.sglang.scheduler.core import ProgramScheduler
from agentrt_engine.sglang.scheduler.meter import Step
from agentrt_engine.sglang.scheduler.radix_cache import TURN, turn_of
from agentrt_engine.wire.identity import ProgramTag, tag_from_custom_params

_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
_BATCH = "sglang.srt.managers.schedule_batch.ScheduleBatch"
_SCHEDULE_POLICY = "sglang.srt.managers.schedule_policy.SchedulePolicy"

#: Attribute of an SGLang `Req` that holds its `ProgramTag`.
_TAG = "agentrt_tag"


class SchedulerHooks:
    """The hooks of one scheduler process.

    All attributes are set by the factory of the radix cache, before the first request.

    Args:
        place: called with a request that names an adapter, the scheduler, the message it came in,
            and whether its client asked for shared KV, before its prompt is looked up in the tree.

    Attributes:
        alone: there is no other tensor-parallel rank that must decide alike.
    """

    programs: ProgramScheduler
    alone: bool
    _nothing_runs = False

    def __init__(self, place: Callable[[Any, Any, Any, bool], None]) -> None:
        self._place = place
        self._kv_tokens = BatchTokens()

    def register(self) -> None:
        """Hook the scheduler of this process, should it become one."""
        for target, hook, kind in (
            (f"{_SCHEDULER}.init_request_dispatcher", self._answer_questions, HookType.AFTER),
            (f"{_SCHEDULER}._poll_timeout_aborts", self._send_tick, HookType.AFTER),
            (f"{_SCHEDULER}.process_input_requests", self._take_tick, HookType.BEFORE),
            (f"{_SCHEDULER}._create_generation_req", self._created, HookType.AFTER),
            (f"{_SCHEDULER}._add_request_to_queue", self._queued, HookType.AFTER),
            (f"{_SCHEDULER}._release_aborted_request", self._aborted, HookType.AFTER),
            (f"{_SCHEDULER}.get_new_batch_prefill", self._round, HookType.AROUND),
            (f"{_SCHEDULER}.get_prefill_adder_class", _adder, HookType.AFTER),
            (f"{_SCHEDULER}.process_batch_result", self._ran, HookType.BEFORE),
            (f"{_SCHEDULE_POLICY}.calc_priority", self._order, HookType.AROUND),
            (f"{_BATCH}._get_decode_retraction_order", self._retraction_order, HookType.AFTER),
        ):
            HookRegistry.register(target, hook, kind)

    # Messages and time.

    def _answer_questions(self, _result: None, scheduler: Any) -> None:
        control = Control(self.programs, scheduler.max_running_requests)
        scheduler._request_dispatcher._mapping[Ask] = control.answer

    def _send_tick(self, aborts: list[Any], _scheduler: Any) -> list[Any]:
        """Only rank 0 comes here; what it adds reaches every rank with this step's requests."""
        now = time.monotonic()
        if self.alone:
            self.programs.tick(now)
            return aborts
        return [*aborts, Tick(now=now)]

    def _take_tick(self, _scheduler: Any, recv_reqs: list[Any]) -> None:
        for at, message in enumerate(recv_reqs):
            if type(message) is Tick:
                del recv_reqs[at]
                self.programs.tick(message.now)
                return

    # Requests.

    def _created(
        self, req: Any, scheduler: Any, recv_req: Any, *_args: Any, **_kwargs: Any
    ) -> None:
        tag = tag_from_custom_params(recv_req.sampling_params.custom_params)
        if req.lora_id is not None:
            self._place(req, scheduler, recv_req, tag is not None and tag.lora_sharing is True)
        warms_prefix = recv_req.sampling_params.max_new_tokens == 0  # SGLang's own, before n > 1
        if not warms_prefix and not is_health_check_generate_req(recv_req):
            setattr(req, _TAG, tag or ProgramTag(program_id=""))

    def _queued(self, _result: None, scheduler: Any, req: Any, *_args: Any, **_kwargs: Any) -> None:
        tag = getattr(req, _TAG, None)
        queue = scheduler.waiting_queue
        if tag is None or turn_of(req) is not None or not queue or queue[-1] is not req:
            return  # a health check, a retracted request, or one that was turned away
        limit = req.sampling_params.max_new_tokens
        setattr(
            req, TURN, self.programs.lifecycle.arrived(tag, req.origin_input_ids, limit, req.rid)
        )

    def _aborted(self, _result: None, _scheduler: Any, req: Any) -> None:
        turn = turn_of(req)
        if turn is not None and not turn.running:
            setattr(req, TURN, None)
            self.programs.lifecycle.aborted(turn)

    # Rounds.

    def _round(self, original: Callable[..., Any], scheduler: Any, running_batch: Any) -> Any:
        """Skip rounds of admissions whose result could be no other than that of the last one."""
        busy = scheduler.chunked_req is not None or scheduler.grammar_manager.has_waiting_grammars()
        if not busy and (_full(scheduler, running_batch) or not self.programs.rounds.due()):
            return NextBatchPlan(batch_to_run=None, running_batch=running_batch)
        if not self.programs.policy.order_only:
            running_batch.batch_is_full = False  # the policy may see room where SGLang saw none
        self._nothing_runs = running_batch.is_empty() and scheduler.chunked_req is None
        with self.programs.room.prefilling():
            return original(scheduler, running_batch)

    def _order(
        self,
        original: Callable[..., None],
        schedule_policy: Any,
        waiting_queue: list[Any],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        programs, policy = self.programs, self.programs.policy
        if not policy.retains:  # SGLang refreshes in its LRU what waiting requests are going to use
            original(schedule_policy, waiting_queue, *args, **kwargs)
        if policy.needs_hits:
            _match(waiting_queue, schedule_policy.tree_cache)
        programs.rounds.sort(waiting_queue, turn_of)
        programs.rounds.open(
            lambda: filter(None, map(turn_of, waiting_queue)),
            nothing_runs=self._nothing_runs,
        )

    def _retraction_order(self, order: list[int], reqs: list[Any]) -> list[int]:
        """Which requests stay in a batch that is out of memory; the last one leaves first."""
        at = {each.turn: index for index in order if (each := turn_of(reqs[index])) is not None}
        leaving: list[int] = []
        while at:
            first = self.programs.policy.preempt(self.programs.state.now, at.keys())
            leaving.append(at.pop(first))
        others = [index for index in order if index not in leaving]
        return others + leaving[::-1]

    def _ran(self, _scheduler: Any, batch: Any, *_args: Any, **_kwargs: Any) -> None:
        """Note what was in a batch; how long it took shows at the next tick.

        By then it was waited for: as it was launched, or, on a GPU, as its result is processed.
        """
        mode = batch.forward_mode
        if mode.is_decode():
            kv_tokens = self._kv_tokens.of(batch.reqs)
            self.programs.meter.ran(Step(decoding=len(batch.reqs), kv_tokens=kv_tokens))
        elif mode.is_extend():
            self.programs.meter.ran(_prefill_step(batch))


def _full(scheduler: Any, running_batch: Any) -> bool:
    """Whether as many requests run as may, so that SGLang would not look at the queue."""
    most = scheduler.max_running_requests
    return len(running_batch.reqs) >= most and not scheduler.enable_priority_preemption


def _adder(adder: Any, _scheduler: Any) -> Any:
    return program_adder(adder)


def _match(waiting_queue: list[Any], tree_cache: Any) -> None:
    """How much of each waiting prompt is in the tree, as far as SGLang's own lpm looks."""
    for req in waiting_queue[:WAITING_QUEUE_PREFIX_MATCH_MAX]:
        match_kv_cache(req, tree_cache)
        if (turn := turn_of(req)) is not None:
            turn.turn.hit_tokens = req.num_matched_prefix_tokens


def _prefill_step(batch: Any) -> Step:
    tokens = 0
    positions = 0.0
    turns = []
    for req, first, count in zip(batch.reqs, batch.prefix_lens, batch.extend_lens, strict=True):
        tokens += count
        positions += count * (first + (count - 1) / 2)
        turns.append((turn_of(req), count))
    return Step(0, 0, turns, tokens, positions)
