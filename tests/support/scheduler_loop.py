"""A scheduler step by step around the plug-in's half, with no SGLang and no model.

It does what SGLang does around the hooks: keeps a queue, matches prompts in the tree, admits what
fits, decodes a token per step and turn, retracts when memory runs out. A prompt takes one step,
or two if there is a hole to compute first.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from agentrt_engine.policy import Costs, Gate, make_live_policy
from agentrt_engine.sglang.scheduler.core import ProgramScheduler
from agentrt_engine.sglang.scheduler.meter import Step
from agentrt_engine.sglang.scheduler.programs import LiveTurn
from agentrt_engine.sglang.scheduler.side_store import Segment
from agentrt_engine.sglang.scheduler.state import Limits
from agentrt_engine.step_costs import StepCosts
from agentrt_engine.wire.identity import ProgramTag
from tests.support.token_trie import TokenTrie

COSTS = Costs(fixed_s=0.01, decode_s=1e-6, prefill_s=1e-4, position_s=1e-8)


@dataclass(eq=False)
class Request:
    """A request on its way. `locked` is its own lock on the prefix that it found."""

    turn: LiveTurn
    prompt: list[int]
    left: int
    output: list[int] = field(default_factory=list)
    locked: Any = None
    hit: int = 0

    @property
    def tokens(self) -> list[int]:
        return self.prompt + self.output

    @property
    def private(self) -> int:
        """Tokens of memory that are its own."""
        return len(self.tokens) - self.hit - _tokens(self.turn.segment)


class SchedulerLoop:
    """A model of SGLang's scheduler.

    Args:
        capacity: tokens of KV memory.
    """

    def __init__(
        self, policy: str, capacity: int, *, page: int = 1, limits: Limits | None = None
    ) -> None:
        self.now = 1.0
        self.tree = TokenTrie(capacity, page)
        self.capacity = capacity
        self.programs = ProgramScheduler(
            make_live_policy(policy),
            self,
            capacity_tokens=capacity,
            costs=StepCosts(COSTS),
            limits=limits or Limits(),
        )
        self.queue: list[Request] = []
        self.running: list[Request] = []
        self.chunked: Request | None = None
        self.log: list[str] = []
        self._serial = 0

    # The tree as the plug-in sees it: private tokens of running requests are not free.

    @property
    def page_size(self) -> int:
        return self.tree.page_size

    def free_tokens(self) -> int:
        return self.tree.free_tokens() - sum(r.private for r in self.running)

    def evictable_tokens(self) -> int:
        return self.tree.evictable_tokens()

    def unused_tokens(self) -> int:
        """Negative while some must still be evicted."""
        return self.free_tokens() - self.evictable_tokens()

    def clear_tokens(self, tokens: int) -> None:
        self.tree.evict(tokens - self.unused_tokens())

    def lock_path(self, node: Any) -> Any:
        return self.tree.lock_path(node)

    def unlock_path(self, lock: Any) -> None:
        self.tree.unlock_path(lock)

    def node_at(self, prefix: Any, length: int) -> Any:
        return self.tree.node_at(prefix, length)

    def fork(self, node: Any) -> int:
        return self.tree.fork(node)

    def take_out(self, prefix: Any, length: int, first: int, kept: int) -> Any:
        return self.tree.take_out(prefix, length, first, kept)

    def put_back(self, prefix: Any, start: int, end: int, slots: Any) -> Any:
        return self.tree.put_back(prefix, start, end, slots)

    def free_slots(self, slots: Any) -> None:
        self.tree.free_slots(slots)

    # What happens.

    def ask(self, tag: ProgramTag, prompt: list[int], output: int) -> Request:
        """A request comes."""
        self._serial += 1
        turn = self.programs.lifecycle.arrived(
            tag, array("q", prompt), output, f"request-{self._serial}"
        )
        request = Request(turn, prompt, output)
        self.queue.append(request)
        return request

    def abort(self, request: Request) -> None:
        """Its client went away."""
        if request in self.queue:
            self.queue.remove(request)
        else:
            self.running.remove(request)
            self._unlock(request)
            self.chunked = None if self.chunked is request else self.chunked
        self.programs.lifecycle.aborted(request.turn)

    def flush(self) -> None:
        """The cache is emptied, as SGLang does only when nothing is under way."""
        assert not self.running and not self.queue
        self.tree.clear()
        self.programs.lifecycle.flushed()

    def step(self, seconds: float = 0.01) -> None:
        """One step of the scheduler: a prefill if anything can start, else a decode."""
        self.now += seconds
        self.programs.tick(self.now)
        started = self._go_on()
        if started or self.programs.rounds.due():
            started += self._admit()
        if started:
            tokens = sum(r.private for r in started)
            self.programs.meter.ran(Step(0, 0, [(r.turn, r.private) for r in started], tokens, 0.0))
            # A turn that was not admitted may still hold more now: all that it found.
            if (missing := len(started) - self.free_tokens()) > 0:
                with self.programs.room.prefilling():
                    self.programs.room.for_batch(missing)
            for request in started:
                if request is not self.chunked:
                    self._decode(request)
        elif self.running:
            kv = sum(len(r.tokens) for r in self.running)
            self.programs.meter.ran(Step(len(self.running), kv))
            self._make_room_to_decode()
            for request in list(self.running):
                self._decode(request)
        self.check()

    def _admit(self) -> list[Request]:
        rounds = self.programs.rounds
        rounds.sort(self.queue, lambda request: request.turn)
        self._check_order()
        rounds.open(lambda: [request.turn for request in self.queue], nothing_runs=not self.running)
        started = []
        for request in list(self.queue):
            gate = rounds.gate(request.turn)
            if gate is Gate.CLOSED:
                break
            if gate is Gate.LATER:
                continue
            if self._start(request):
                started.append(request)
            elif not rounds.blocked():
                break
        return started

    def _check_order(self) -> None:
        """The queue is sorted, however little of it was moved."""
        ranks = [self.programs.policy.rank(self.now, r.turn.turn) for r in self.queue]
        assert ranks == sorted(ranks)

    def _start(self, request: Request) -> bool:
        match = self.tree.matched(request.tokens)
        idle = self.programs.state.idle
        own = idle.get(request.turn.turn.program)
        if own is not None:
            idle.fit(own, match.prefix, len(request.tokens) - 1)
            if own.segment is not None and match.length >= own.segment.start:
                idle.fill(own)
                match = self.tree.matched(request.tokens)
            if match.length:
                idle.move(own, match.prefix, match.length, match.node)
        if self.chunked is not None and self._segment(request) is not None:
            return False
        lock = self.tree.lock_path(match.node) if match.length else None
        missing = self._missing(request, match.length)
        if not self.programs.rounds.make_room(request.turn, missing):
            if lock is not None:
                self.tree.unlock_path(lock)
            return False
        missing = self._missing(request, match.length)
        if missing > 0:
            if lock is not None:
                self.tree.unlock_path(lock)
            return False
        request.locked, request.hit = lock, match.length
        self.queue.remove(request)
        self.running.append(request)
        segment = self._segment(request)
        if segment is not None:
            self.chunked = request
        hit = match.length + _tokens(segment)
        self.programs.lifecycle.started(request.turn, hit, segment)
        self.programs.rounds.started(request.turn)
        self.tree.evict(-self.unused_tokens())
        return True

    def _go_on(self) -> list[Request]:
        """A turn that computed a hole goes on behind it."""
        request, self.chunked = self.chunked, None
        if request is None or request.turn.segment is None:
            return []
        segment, request.turn.segment = request.turn.segment, None
        self.tree.insert(request.tokens[: segment.start])
        node = self.programs.state.idle.put_back(segment)
        lock = self.tree.lock_path(node)
        self._unlock(request)
        request.locked, request.hit = lock, segment.end
        return [request]

    def _segment(self, request: Request) -> Segment | None:
        held = self.programs.state.idle.get(request.turn.turn.program)
        return None if held is None else held.segment

    def _missing(self, request: Request, hit: int) -> int:
        tokens = len(request.tokens) - hit - _tokens(self._segment(request)) + request.left
        return tokens - self._uncommitted()

    def _uncommitted(self) -> int:
        """Free tokens, half of what the batch may still generate set aside, as SGLang guesses."""
        return self.free_tokens() - sum(r.left for r in self.running) // 2

    def _make_room_to_decode(self) -> None:
        while (missing := len(self.running) - self.free_tokens()) > 0:
            self.programs.room.for_batch(missing)
            if len(self.running) - self.free_tokens() <= 0:
                return
            turns = {r.turn.turn: r for r in self.running}
            victim = turns[self.programs.policy.preempt(self.now, turns.keys())]
            self.running.remove(victim)
            self._unlock(victim)
            self.log.append(f"retracted {victim.turn.live.program_id}")
            if not self.running:
                self.programs.lifecycle.aborted(victim.turn)
                return
            place = self.tree.matched(victim.tokens)
            left = place if place.length else None
            self.programs.lifecycle.preempted(victim.turn, len(victim.output), left)
            self.queue.append(victim)

    def _decode(self, request: Request) -> None:
        request.output.append(self._serial % 7)
        request.left -= 1
        self.tree.evict(-self.unused_tokens())  # what nothing locks makes way for what is computed
        if request.left > 0:
            return
        self.running.remove(request)
        place = self.tree.insert(request.tokens)
        self._unlock(request)
        self.programs.lifecycle.finished(request.turn, len(request.output), place)
        self.log.append(f"finished {request.turn.live.program_id} with {request.hit} hits")

    def _unlock(self, request: Request) -> None:
        if request.locked is not None:
            self.tree.unlock_path(request.locked)
            request.locked = None

    def check(self) -> None:
        """What holds between any two steps."""
        state = self.programs.state
        assert {id(r.turn) for r in self.queue} == {id(turn) for turn in state.queued}
        assert {id(r.turn) for r in self.running} == {id(t) for t in state.in_batch.values()}
        assert self.free_tokens() >= 0
        for held in state.idle:
            assert held.program.program_id in state.programs, "an orphan lease"
            assert tuple(held.prefix.tokens[: held.length]) == held.node
        known = [held.lock for held in state.idle]
        known += [request.locked for request in self.running if request.locked is not None]
        self.tree.check_locks(known)
        segments = [each.segment for each in [*state.idle, *state.in_batch.values()]]
        assert state.idle.side.tokens == self.tree.outside == sum(map(_tokens, segments))


def _tokens(segment: Segment | None) -> int:
    return 0 if segment is None else segment.tokens
