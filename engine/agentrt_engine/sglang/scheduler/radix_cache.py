"""SGLang's radix cache, with the KV of finished turns held for their programs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from sglang.srt.managers.schedule_batch import FINISH_ABORT
from sglang.srt.mem_cache.base_prefix_cache import EvictParams, InsertParams, MatchPrefixParams
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

from agentrt_engine.sglang.lora.use import Namespace
from agentrt_engine.sglang.scheduler.core import ProgramScheduler
from agentrt_engine.sglang.scheduler.programs import LiveTurn
from agentrt_engine.sglang.scheduler.tree import Place, Prefix

#: Attribute of an SGLang `Req` that holds its `LiveTurn`, None while it has none.
TURN = "agentrt_turn"

#: Attribute of one that finished: the `Place` of its KV.
_PLACE = "agentrt_place"


def turn_of(req: Any) -> LiveTurn | None:
    """The turn of a request; None for a health check or one that never entered the queue."""
    turn: LiveTurn | None = getattr(req, TURN, None)
    return turn


class ProgramRadixCache(UnifiedRadixCache):
    """Reports when turns end and holds what they leave; a `Tree` for the scheduler's half.

    `programs` is set right after construction, before SGLang uses the cache.
    """

    programs: ProgramScheduler | None = None

    # What SGLang calls.

    def checkpoint_into_tree(self, req: Any, *, up_to: int, **kwargs: Any) -> None:
        super().checkpoint_into_tree(req, up_to=up_to, **kwargs)
        if req.finished() and req.lock is not None and self._holds(req):
            tokens = req.full_untruncated_fill_ids[:up_to]
            prefix = Prefix(tokens, req.extra_key, req.cache_salt)
            setattr(req, _PLACE, Place(prefix, req.kv.cache_protected_len, req.last_node))

    def on_release(self, req: Any, *, checkpointed: bool) -> None:
        super().on_release(req, checkpointed=checkpointed)
        self._left(req)

    def claim_kv_row(self, req: Any) -> bool:
        claimed = super().claim_kv_row(req)
        if claimed:  # a streaming session keeps the KV by itself
            self._left(req)
        return bool(claimed)

    def match_prefix(self, params: Any) -> Any:
        return super().match_prefix(_in_tree(params))

    def insert(self, params: Any) -> Any:
        return super().insert(_in_tree(params))

    def touch_prefix(self, key: RadixKey) -> None:
        super().touch_prefix(_tree_key(key))

    def evict_for_alloc(self, params: Any, **kwargs: Any) -> Any:
        wanted = self.unused_tokens() + params.num_tokens
        result = super().evict_for_alloc(params, **kwargs)
        missing = wanted - self.unused_tokens()
        if missing > 0 and self.programs is not None and len(self.programs.state.idle):
            self.programs.room.for_batch(missing)
            missing = wanted - self.unused_tokens()
            if missing > 0:
                super().evict_for_alloc(EvictParams(num_tokens=missing), **kwargs)
        return result

    def protected_size(self) -> int:
        in_tree: int = super().protected_size()
        return in_tree if self.programs is None else in_tree + self.programs.state.idle.side.tokens

    def reset(self) -> None:
        super().reset()
        if self.programs is not None:
            self.programs.lifecycle.flushed()

    def sanity_check(self) -> None:
        if self.programs is None:
            super().sanity_check()
            return
        with self.programs.state.idle.unlocked():  # the check wants an idle tree without locks
            super().sanity_check()

    # What leases need of the tree.

    def free_tokens(self) -> int:
        return self.unused_tokens() + self.evictable_tokens()

    def evictable_tokens(self) -> int:
        evictable: int = self.evictable_size()
        return evictable

    def unused_tokens(self) -> int:
        available: int = self.token_to_kv_pool_allocator.available_size()
        return available

    def clear_tokens(self, tokens: int) -> None:
        missing = tokens - self.unused_tokens()
        if missing > 0:
            super().evict_for_alloc(EvictParams(num_tokens=missing))

    def lock_path(self, node: Any) -> Any:
        return self.lock(node)

    def unlock_path(self, lock: Any) -> None:
        self.unlock(lock)

    def node_at(self, prefix: Prefix, length: int) -> Any:
        key = RadixKey(prefix.tokens, prefix.extra_key, limit=length, cache_salt=prefix.cache_salt)
        match = self.match_prefix(MatchPrefixParams(key=key))
        assert match.device_prefix_len == length, "a held prefix is not in the tree"
        return match.last_device_node

    # What contexts that lose their front need of it.

    def fork(self, node: Any) -> int:
        (path,) = self.tree_core.collect_path_info([node])
        forks = [each.path_end for each in path[:-1] if each.num_children > 1]
        forks += [each.path_end for each in path[-1:] if each.num_children]
        return max(forks, default=0)

    def take_out(self, prefix: Prefix, length: int, first: int, kept: int) -> Any:
        for end in (first, kept):  # a node ends at both, so that no node goes half
            self.node_at(prefix, end)
        node = self.node_at(prefix, length)
        slots = self.path_device_indices(node)[kept:].clone()
        (path,) = self.tree_core.collect_path_info([node])
        for each in reversed(path):
            if each.path_start < first:
                break
            evicted = self.tree_core.evict_device_leaf(each.node_id, self.is_write_back)
            if each.path_start >= kept:
                evicted.device_frees.clear()
            self._apply_eviction_result(evicted)
        return slots

    def put_back(self, prefix: Prefix, start: int, end: int, slots: Any) -> Any:
        before = self.path_device_indices(self.node_at(prefix, start))
        key = RadixKey(prefix.tokens[:end], prefix.extra_key, cache_salt=prefix.cache_salt)
        value = torch.cat([before, slots])
        params = InsertParams(key=key, value=value, prev_prefix_len=start, inserted_len=start)
        return self.insert(params).last_device_node

    def free_slots(self, slots: Any) -> None:
        self.token_to_kv_pool_allocator.free(slots)

    def go_on_behind_hole(self, req: Any, turn: LiveTurn) -> None:
        """A request in chunks computed a hole: it goes on where the KV behind the hole ends."""
        segment, programs = turn.segment, self.programs
        if segment is None or programs is None:
            return
        turn.segment = None
        side = programs.state.idle.side
        if segment not in side:
            return
        if req.prefix_len != segment.start or req.kv.cache_protected_len != segment.start:
            side.drop(segment)  # it is not in the tree up to there: it computes everything
            return
        node = programs.state.idle.put_back(segment)
        lock = self.lock(node)
        self.unlock(req.lock)
        req.lock, req.last_node, req.prefix_len = lock, node, segment.end
        kv = req.kv
        kv.cache_protected_len = kv.cache_inserted_len = segment.end
        kv.kv_allocated_len = kv.kv_committed_len = segment.end
        behind = slice(segment.start, segment.end)
        slots = self.path_device_indices(node)[behind]
        self.req_to_token_pool.write((kv.req_pool_idx, behind), slots)

    def _holds(self, req: Any) -> bool:
        """Whether the KV of a request is held for its program when it ends."""
        programs = self.programs
        return programs is not None and programs.policy.retains and turn_of(req) is not None

    def _left(self, req: Any) -> None:
        """A request gave its memory back: it finished, was called off, or was retracted."""
        turn = turn_of(req)
        if turn is None or self.programs is None or not turn.running:
            return
        lifecycle = self.programs.lifecycle
        if isinstance(req.finished_reason or req.to_finish, FINISH_ABORT):
            setattr(req, TURN, None)
            lifecycle.aborted(turn)
        elif req.finished():
            setattr(req, TURN, None)
            lifecycle.finished(turn, len(req.output_ids), getattr(req, _PLACE, None))
        else:
            lifecycle.preempted(turn, len(req.output_ids), self._left_in_tree(req))

    def _left_in_tree(self, req: Any) -> Place | None:
        """What of a retracted request other turns, or its own prefill, left in the tree."""
        if not req.kv.cache_protected_len:
            return None
        tokens = (req.origin_input_ids + req.output_ids)[: req.kv.cache_protected_len]
        prefix = Prefix(tokens, req.extra_key, req.cache_salt)
        return Place(prefix, req.kv.cache_protected_len, req.last_node)


def _in_tree(params: Any) -> Any:
    key = _tree_key(params.key)
    return params if key is params.key else replace(params, key=key)


def _tree_key(key: RadixKey) -> RadixKey:
    """Where the KV of a key lies: under an activated adapter in two namespaces at once."""
    place = key.extra_key
    if not isinstance(place, Namespace):
        return key
    own = place.own(key.raw_token_ids())
    return RadixKey(own, place.before, is_bigram=key.is_bigram, cache_salt=key.cache_salt)
