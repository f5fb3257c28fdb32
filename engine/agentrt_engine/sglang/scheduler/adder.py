"""SGLang's prefill adder, with the policy's gate before it and its reclaim behind it."""

from __future__ import annotations

from functools import cache
from typing import Any

from sglang.srt.managers.schedule_policy import CLIP_MAX_NEW_TOKENS, AddReqResult

from agentrt_engine.policy import Gate
from agentrt_engine.sglang.scheduler.core import ProgramScheduler
from agentrt_engine.sglang.scheduler.programs import LiveTurn
from agentrt_engine.sglang.scheduler.radix_cache import turn_of
from agentrt_engine.sglang.scheduler.tree import Prefix

#: How often a turn is tried again after room was made for it.
ATTEMPTS = 3


@cache
def program_adder(base: Any) -> Any:
    """The adder class on top of the one that SGLang would use."""

    class ProgramPrefillAdder(base):  # type: ignore[misc]
        """Admits requests as the policy says. Lives for one round."""

        def add_one_req(
            self, req: Any, has_chunked_req: bool, truncation_align_size: int | None
        ) -> AddReqResult:
            programs: ProgramScheduler = self.tree_cache.programs
            turn = turn_of(req)
            if programs.policy.order_only:
                return super().add_one_req(req, has_chunked_req, truncation_align_size)
            if turn is None:
                return self._add_without_turn(programs, req, has_chunked_req, truncation_align_size)
            gate = programs.rounds.gate(turn)
            if gate is Gate.LATER:
                return AddReqResult.CONTINUE
            if gate is Gate.CLOSED:
                return AddReqResult.OTHER
            self._keep_what_it_needs(programs, turn, req)
            before = len(self.can_run_list)
            for _attempt in range(ATTEMPTS):
                if not self._has_room(programs, turn, req):
                    break
                result = super().add_one_req(req, has_chunked_req, truncation_align_size)
                if len(self.can_run_list) > before:
                    # Memory may be short for the next turn, but it can ask for room itself.
                    short = result is AddReqResult.NO_TOKEN
                    return AddReqResult.CONTINUE if short else result
                if result is not AddReqResult.NO_TOKEN:
                    return result
            return AddReqResult.CONTINUE if programs.rounds.blocked() else AddReqResult.NO_TOKEN

        def _commit_prefill_admission(self, req: Any, *args: Any, **kwargs: Any) -> None:
            super()._commit_prefill_admission(req, *args, **kwargs)
            turn = turn_of(req)
            if turn is not None:  # its own lock is in place, so the lease may go
                programs: ProgramScheduler = self.tree_cache.programs
                programs.lifecycle.started(turn, req.prefix_len)
                programs.rounds.started()

        def _add_without_turn(
            self, programs: ProgramScheduler, req: Any, *args: Any
        ) -> AddReqResult:
            """A health check, or a prompt read once for several samples.

            It is first in the queue, so nothing behind it starts before it does: what idle
            programs hold must not be in its way.
            """
            result = super().add_one_req(req, *args)
            if result is AddReqResult.NO_TOKEN:
                programs.room.by_force(self._missing(req))
                result = super().add_one_req(req, *args)
            return result

        def _keep_what_it_needs(self, programs: ProgramScheduler, turn: LiveTurn, req: Any) -> None:
            """Of the program's own idle KV only what the prompt begins with is of use."""
            held = programs.state.idle.get(turn.turn.program)
            if held is not None and req.prefix_len:
                prefix = Prefix(req.full_untruncated_fill_ids, req.extra_key, req.cache_salt)
                programs.state.idle.move(held, prefix, req.prefix_len, req.last_node)

        def _has_room(self, programs: ProgramScheduler, turn: LiveTurn, req: Any) -> bool:
            """Whether the turn fits, if need be after others yielded."""
            with self._lock_node(req.last_node):
                missing = self._missing(req)
                if missing + programs.rounds.reserve(turn) <= 0:
                    return True
                return programs.rounds.make_room(turn, missing)

        def _missing(self, req: Any) -> int:
            """Tokens that must come free, beyond what SGLang's `add_one_req` sees free."""
            new = max(req.sampling_params.max_new_tokens - len(req.output_ids), 0)
            extend = len(req.full_untruncated_fill_ids) - req.prefix_len
            wanted = extend + min(new, CLIP_MAX_NEW_TOKENS) + self.per_req_token_overhead
            return int(wanted) + 1 - int(self.rem_total_tokens)

    return ProgramPrefillAdder
