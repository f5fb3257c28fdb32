"""SGLang's prefill adder, with the policy's gate before it and its reclaim behind it.

A turn whose context has a hole is computed in chunks: up to the end of the hole first, then from
where the KV behind it ends. SGLang takes one request at a time from chunk to chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

from sglang.srt.managers.schedule_policy import CLIP_MAX_NEW_TOKENS, AddReqResult
from sglang.srt.mem_cache.common import match_kv_cache

from agentrt_engine.policy import Gate
from agentrt_engine.sglang.scheduler.core import ProgramScheduler
from agentrt_engine.sglang.scheduler.programs import LiveTurn
from agentrt_engine.sglang.scheduler.radix_cache import turn_of
from agentrt_engine.sglang.scheduler.side_store import Segment
from agentrt_engine.sglang.scheduler.tree import Prefix

#: How often a turn is tried again after room was made for it.
ATTEMPTS = 3


@cache
def program_adder(base: Any) -> Any:
    """The adder class on top of the one that SGLang would use."""

    class ProgramPrefillAdder(base):  # type: ignore[misc]
        """Admits requests as the policy says. Lives for one round."""

        rem_chunk_tokens: int | None
        chunked_req_limit: int | None

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
            self._keep_what_it_needs(programs, turn, req, truncation_align_size)
            before = len(self.can_run_list)
            for _attempt in range(ATTEMPTS):
                if not self._has_room(programs, turn, req):
                    break
                segment = _segment(programs, turn)
                result = self._add(req, has_chunked_req, truncation_align_size, segment)
                if len(self.can_run_list) > before:
                    # Memory may be short for the next turn, but it can ask for room itself.
                    short = result is AddReqResult.NO_TOKEN
                    return AddReqResult.CONTINUE if short else result
                if result is not AddReqResult.NO_TOKEN:
                    return result
            return AddReqResult.CONTINUE if programs.rounds.blocked() else AddReqResult.NO_TOKEN

        def add_chunked_req(self, req: Any) -> Any:
            turn = turn_of(req)
            if turn is None or turn.segment is None:
                return super().add_chunked_req(req)
            left = turn.segment.start - req.prefix_len
            if left > 0:
                limit = self.chunked_req_limit
                self.chunked_req_limit = left if limit is None else min(left, limit)
            else:
                self.tree_cache.go_on_behind_hole(req, turn)
            goes_on = super().add_chunked_req(req)
            if turn.segment is not None:
                self._set_aside(req, turn.segment)
            return goes_on

        def _commit_prefill_admission(self, req: Any, *args: Any, **kwargs: Any) -> None:
            super()._commit_prefill_admission(req, *args, **kwargs)
            turn = turn_of(req)
            if turn is not None:  # its own lock is in place, so the lease may go
                programs: ProgramScheduler = self.tree_cache.programs
                segment = _segment(programs, turn)
                hit = req.prefix_len + _tokens(segment)
                programs.lifecycle.started(turn, hit, segment)
                programs.rounds.started(turn)

        def _add_without_turn(
            self, programs: ProgramScheduler, req: Any, *args: Any
        ) -> AddReqResult:
            """A health check, or a prompt read once for several samples.

            It is first in the queue, so nothing behind it starts before it does: what idle
            programs hold must not be in its way.
            """
            result = self._add(req, *args)
            if result is AddReqResult.NO_TOKEN:
                programs.room.by_force(self._missing(req))
                result = self._add(req, *args)
            return result

        def _add(
            self,
            req: Any,
            has_chunked_req: bool,
            truncation_align_size: int | None,
            segment: Segment | None = None,
        ) -> AddReqResult:
            """Admit a request as SGLang does, up to the end of the hole before a segment."""
            arguments = (req, has_chunked_req, truncation_align_size)
            if self._goes_on(req, segment) and (has_chunked_req or self.new_chunked_req):
                return AddReqResult.OTHER  # the next round is for it
            if segment is None:
                return super().add_one_req(*arguments)
            budget = self.rem_chunk_tokens
            assert budget is not None, "a hole needs a chunk of its own"
            allowed = min(budget, segment.start - req.prefix_len)
            self.rem_chunk_tokens = allowed
            with self._not_counting(segment.tokens):
                result = super().add_one_req(*arguments)
            self.rem_chunk_tokens += budget - allowed
            if self.new_chunked_req is not req:
                return result
            self._set_aside(req, segment)
            return self.budget_state()

        def _goes_on(self, req: Any, segment: Segment | None) -> bool:
            """Whether a request would not end with this round's chunk."""
            if segment is not None:
                return True
            extend = self.ceil_paged_tokens(len(req.full_untruncated_fill_ids) - req.prefix_len)
            return self.rem_chunk_tokens is not None and extend > self.rem_chunk_tokens

        @contextmanager
        def _not_counting(self, tokens: int) -> Iterator[None]:
            """Meanwhile a prompt needs memory for so many tokens less than SGLang knows."""
            self.memory_budget.total_offset -= tokens
            try:
                yield
            finally:
                self.memory_budget.total_offset += tokens

        def _set_aside(self, req: Any, segment: Segment) -> None:
            """Others in this round may not take what the rest of the request needs.

            SGLang need not do so: a request that goes on has used up the round.
            """
            rest = len(req.full_untruncated_fill_ids) - segment.end + _new_tokens(req)
            self.memory_budget.total_offset += rest

        def _keep_what_it_needs(
            self,
            programs: ProgramScheduler,
            turn: LiveTurn,
            req: Any,
            truncation_align_size: int | None,
        ) -> None:
            """Of the program's own idle KV only what the prompt begins with is of use."""
            idle = programs.state.idle
            held = idle.get(turn.turn.program)
            if held is None:
                return
            tokens = req.full_untruncated_fill_ids
            prompt = Prefix(tokens, req.extra_key, req.cache_salt)
            limit = req._compute_max_prefix_len(len(tokens))
            in_chunks = truncation_align_size is None and self._may_be_in_chunks(req)
            idle.fit(held, prompt, limit if in_chunks else 0)
            if held.segment is not None and req.prefix_len >= held.segment.start:
                idle.fill(held)
                match_kv_cache(req, self.tree_cache, tokens, max_prefix_len=limit)
                req.kv.cache_protected_len = req.prefix_len
            if req.prefix_len:
                idle.move(held, prompt, req.prefix_len, req.last_node)

        def _may_be_in_chunks(self, req: Any) -> bool:
            """Whether a chunk can end where a hole ends, and tokens alone say what the KV is."""
            return (
                self.rem_chunk_tokens is not None
                and self.dllm_config is None
                and not req.skip_radix_cache_insert
                and req.session is None
                and req.input_embeds is None
                and req.positional_embed_overrides is None
            )

        def _has_room(self, programs: ProgramScheduler, turn: LiveTurn, req: Any) -> bool:
            """Whether the turn fits, if need be after others yielded."""
            # What it matched must stay while others yield; a turn may have matched nothing.
            matched = self._lock_node(req.last_node) if req.prefix_len else nullcontext()
            with matched:
                missing = self._missing(req) - _tokens(_segment(programs, turn))
                return programs.rounds.make_room(turn, missing)

        def _missing(self, req: Any) -> int:
            """Tokens that must come free, beyond what SGLang's `add_one_req` sees free."""
            extend = len(req.full_untruncated_fill_ids) - req.prefix_len
            wanted = extend + _new_tokens(req) + self.per_req_token_overhead
            return int(wanted) + 1 - int(self.rem_total_tokens)

    return ProgramPrefillAdder


def _segment(programs: ProgramScheduler, turn: LiveTurn) -> Segment | None:
    """What is kept behind a hole in the context of a waiting turn."""
    held = programs.state.idle.get(turn.turn.program)
    return None if held is None else held.segment


def _tokens(segment: Segment | None) -> int:
    return 0 if segment is None else segment.tokens


def _new_tokens(req: Any) -> int:
    """Tokens that SGLang expects a request to generate, at most."""
    new = req.sampling_params.max_new_tokens - len(req.output_ids)
    return int(min(max(new, 0), CLIP_MAX_NEW_TOKENS))
