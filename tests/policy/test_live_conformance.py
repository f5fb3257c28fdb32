"""Every live policy against an engine in which things happen as in a real one.

Several turns of a program are in flight at once, turns are called off and their programs never
come back, programs end while they wait or fall silent, hints come at odd times, the clock stands
still or jumps by an hour.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sized
from types import FunctionType
from typing import Any

import pytest

from agentrt_engine.policy import (
    Context,
    Costs,
    Expectation,
    Gate,
    Lease,
    Phase,
    Policy,
    Program,
    Turn,
    live_policy_names,
    make_live_policy,
)

POLICIES = (
    *live_policy_names(),
    "continuum:reading=pressure,eta=learned",
    "fixed-ttl:reading=pressure",
    "guard:price=0",
    "guard:gate=no",
    "guard:fronts=yes",
    "static-cap:programs=2",
)
TOOLS = ("bash", "edit", "pytest", "")
COSTS = (
    Costs(fixed_s=0.01, decode_s=1e-7, prefill_s=1e-3, position_s=1e-6),
    Costs(fixed_s=0.02, decode_s=1e-7, prefill_s=5e-4, position_s=2e-6),
)
MAX_RUNNING = 4
PAGE = 16
EVENTS = 1500

#: Of what a policy holds nothing may grow with the programs that have ended.
LEARNED = ("durations", "_durations", "_remaining", "_waits")


class LiveEngine:
    """An `EngineView`; what happens is drawn at random."""

    def __init__(self, policy: Policy, seed: int) -> None:
        self.policy = policy
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.capacity_tokens = 3000
        self.host_tokens = 0
        self.looks = 3.0  # an engine in a hurry
        self.costs = COSTS[0]
        self.live: dict[str, Program] = {}
        self.turns: dict[Program, list[Turn]] = {}
        self.batch: dict[Turn, int] = {}
        self.queue: list[Turn] = []
        self.idle: dict[Program, Context] = {}
        self.started = self.admitted = self.refused = 0
        policy.attach(self.costs)

    # What a policy may ask.

    @property
    def free_tokens(self) -> int:
        held = sum(self.batch.values()) + sum(each.tokens for each in self.idle.values())
        return self.capacity_tokens - held

    @property
    def programs(self) -> Mapping[str, Program]:
        return self.live

    @property
    def running(self) -> Collection[Turn]:
        return self.batch.keys()

    @property
    def waiting(self) -> int:
        return len(self.queue)

    def position(self, program: Program) -> int:
        places = [at for at, turn in enumerate(self.queue) if turn.program is program]
        return places[0] if places else len(self.queue)

    def context(self, program: Program) -> Context:
        return self.idle.get(program) or Context(program, {})

    # What happens.

    def arrives(self) -> None:
        """A request, of a new program or of one that pauses or has turns in flight."""
        known = [each for each in self.live.values() if len(self.turns[each]) < 3]
        if not known or self.rng.random() < 0.3:
            program = Program(f"p{self.started}", self.started, self.now, agent="a")
            self.started += 1
            program.prompt_tokens = self.rng.randint(1, 500)
            program.max_tokens = self.rng.choice([None, 1, 60])
            self.live[program.program_id] = program
            self.turns[program] = []
            if known and self.rng.random() < 0.3:
                program.parent = self.rng.choice(known)
                program.parent.children += (program,)
            self.policy.program_started(self.now, program)
        else:
            program = self.rng.choice(known)
            program.prompt_tokens = self.rng.randint(1, 900)
            # A turn may come unannounced.
            if program.phase is Phase.PAUSED and self.rng.random() < 0.9:
                self.policy.pause_ended(self.now, program)
            if program.phase is Phase.PAUSED:
                program.tool = program.expected = None
        turn = Turn(program, self.now, program.prompt_tokens)
        self.turns[program].append(turn)
        self.queue.append(turn)
        self.settle(program)

    def settle(self, program: Program) -> None:
        turns = self.turns[program]
        if any(turn in self.batch for turn in turns):
            program.phase = Phase.RUNNING
        elif turns:
            preempted = any(turn.preempted for turn in turns)
            program.phase = Phase.PREEMPTED if preempted else Phase.WAITING
        else:
            program.phase = Phase.PAUSED

    def round(self) -> None:
        """Admissions, as the simulator does them."""
        policy = self.policy
        if self.rng.random() < 0.5:
            policy.prepare(self.now, self)
        policy.stepped(self.now, self.rng.choice([0.0, 0.02, 30.0]), 2.0, 500.0, 0.7)
        policy.open_gate(self.now, self)
        for turn in self.queue:
            turn.hit_tokens = min(self.context(turn.program).tokens, turn.prompt_tokens - 1)
        self.queue.sort(key=lambda turn: policy.rank(self.now, turn))
        blocked = 0
        for turn in list(self.queue):
            if len(self.batch) >= MAX_RUNNING:
                return
            gate = policy.admit(self.now, turn, self)
            if gate is Gate.CLOSED:
                return
            if gate is Gate.OPEN and not self.start(turn, backfill=blocked > 0):
                blocked += 1
                if blocked > policy.backfill:
                    return

    def start(self, turn: Turn, *, backfill: bool) -> bool:
        own = self.idle.get(turn.program)
        need = turn.prompt_tokens + 1 - (own.tokens if own else 0) - self.free_tokens
        reserve = self.policy.reserve(turn, self)
        assert reserve >= 0
        if need + reserve > 0 and not self.reclaims(turn, need, backfill=backfill):
            self.refused += 1
            return False
        self.idle.pop(turn.program, None)
        self.queue.remove(turn)
        self.batch[turn] = turn.prompt_tokens + 1
        self.admitted += 1
        self.policy.turn_started(self.now, turn, cached=own is not None)
        self.settle(turn.program)
        return True

    def reclaims(self, turn: Turn, need: int, *, backfill: bool = False) -> bool:
        """Ask the policy for memory and take it; holds that it gives only what there is."""
        idle = [
            each for each in self.idle.values() if each.program is not turn.program and each.tokens
        ]
        held = {context: context.tokens for context in idle}
        given = self.policy.reclaim(self.now, turn, need, idle, self, backfill=backfill)
        for victim in given or []:
            assert victim.context in held, "not idle, or its own"
            assert 0 <= victim.tokens <= held[victim.context]
            assert self.policy.evicts_fronts or not victim.front
            held[victim.context] -= victim.tokens
        if given is None or sum(victim.tokens for victim in given) < need:
            return False
        for victim in given:
            tokens = min(victim.tokens, max(need, 0))
            need -= tokens
            victim.context.tokens -= tokens
        return True

    def grows(self) -> None:
        """A running turn needs its next page; the engine may be short of it."""
        turn = self.rng.choice(list(self.batch))
        if self.free_tokens < PAGE and not self.reclaims(turn, PAGE) and len(self.batch) > 1:
            out = self.policy.preempt(self.now, self.batch.keys())
            del self.batch[out]
            out.preempted, out.queued_s = True, self.now
            self.queue.append(out)
            self.settle(out.program)
        elif self.free_tokens >= PAGE:
            self.batch[turn] += PAGE

    def ends(self) -> None:
        """A turn generated its last token."""
        turn = self.rng.choice(list(self.batch))
        program, tokens = turn.program, self.batch.pop(turn)
        self.turns[program].remove(turn)
        program.turns += 1
        program.output_tokens = self.rng.randint(1, 300)
        program.previous_tokens = program.context_tokens
        program.context_tokens = turn.prompt_tokens + program.output_tokens
        program.served_tokens += tokens
        if not self.turns[program]:
            program.phase, program.paused_s = Phase.PAUSED, self.now
            program.tool = self.rng.choice(TOOLS)
        self.policy.turn_ended(self.now, program)
        self.settle(program)
        if program.phase is not Phase.PAUSED:
            return
        if self.rng.random() < 0.2:
            self.forget(program)
            return
        if self.rng.random() < 0.5:
            self.policy.tool_started(self.now, program, program.tool or "")
        tokens = min(program.context_tokens, self.free_tokens)
        context = self.idle[program] = Context(program, {}, tokens=tokens, used_s=self.now)
        if tokens <= 0:
            del self.idle[program]
        context.lease = self.policy.lease(self.now, program, self)
        assert context.lease is None or isinstance(context.lease, Lease)
        for q in (0.5, 0.95):
            assert (self.policy.predict_pause(program, q) or 0.0) >= 0.0

    def aborts(self) -> None:
        """A turn is called off; its program may never come back."""
        turn = self.rng.choice([*self.queue, *self.batch])
        program = turn.program
        if self.batch.pop(turn, None) is None:
            self.queue.remove(turn)
        self.turns[program].remove(turn)
        self.idle.pop(program, None)
        self.settle(program)
        if program.phase is Phase.PAUSED:
            program.paused_s, program.tool = self.now, ""
            if not program.turns:
                self.forget(program)

    def forget(self, program: Program) -> None:
        """The program has ended, or fell silent."""
        program.phase = Phase.ENDED
        self.idle.pop(program, None)
        if self.rng.random() < 0.5:
            del self.live[program.program_id]
        self.policy.program_ended(self.now, program)
        self.live.pop(program.program_id, None)
        del self.turns[program]
        if program.parent is not None:
            family = program.parent.children
            program.parent.children = tuple(child for child in family if child is not program)

    def hint(self) -> None:
        program = self.rng.choice(list(self.live.values()))
        program.priority = self.rng.choice([0.0, 0.0, 1.0, -3.0])
        program.remaining_s = self.rng.choice([None, 0.0, 40.0])
        program.max_turns = self.rng.choice([None, 1, 30])
        program.expected = self.rng.choice([None, Expectation.of({0.5: 2.0, 0.9: 60.0})])
        self.policy.hinted(self.now, program)
        if self.rng.random() < 0.5:
            self.policy.tool_started(self.now, program, "bash")

    def flush(self) -> None:
        self.idle.clear()

    def step(self) -> None:
        """One event and the round after it."""
        self.now += self.rng.choice([0.0, 0.0, 0.003, 0.2, 5.0, 3600.0])
        if self.rng.random() < 0.02:
            self.costs = self.rng.choice(COSTS)
            self.policy.attach(self.costs)
        events: list[Any] = [self.arrives, self.arrives]
        if self.batch:
            events += [self.ends, self.ends, self.grows, self.grows]
        if self.batch or self.queue:
            events += [self.aborts] if self.rng.random() < 0.3 else []
        if self.live:
            events += [self.hint]
        if self.rng.random() < 0.01:
            events = [self.flush]
        self.rng.choice(events)()
        silent = [each for each in self.live.values() if not self.turns[each]]
        while len(silent) > 12:
            self.forget(silent.pop(self.rng.randrange(len(silent))))
        assert self.policy.price(self.now) >= 0.0
        self.round()

    def drain(self) -> None:
        """Everything is called off and every program ends."""
        for turn in [*self.queue, *self.batch]:
            self.turns[turn.program].remove(turn)
        self.queue.clear()
        self.batch.clear()
        for program in list(self.live.values()):
            self.forget(program)


def sizes(value: object, seen: set[int], name: str = "") -> dict[str, int]:
    """How much each container within a policy holds, but for what it has learned."""
    found: dict[str, int] = {}
    if id(value) in seen or isinstance(value, str | bytes | type | FunctionType | Policy_):
        return found
    seen.add(id(value))
    if isinstance(value, Sized) and not isinstance(value, tuple):
        found[name] = len(value)
    members = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = getattr(kind, "__slots__", ())
        members |= {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)}
    for member, held in members.items():
        if member not in LEARNED:
            found |= sizes(held, seen, f"{name}.{member}")
    return found


#: What a policy knows of others it does not hold.
Policy_ = Program | Turn | Context


@pytest.mark.parametrize("specification", POLICIES)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_live_policy_stands_whatever_happens_and_forgets_who_ended(
    specification: str, seed: int
) -> None:
    policy = make_live_policy(specification)
    engine = LiveEngine(policy, seed)
    for _ in range(EVENTS):
        engine.step()
    assert engine.started > 100
    assert engine.admitted > 100
    engine.drain()
    for name, size in sizes(policy, set()).items():
        assert size <= 64 + 4, f"{name} holds {size} after every program ended"
    remaining = getattr(policy, "_remaining", None)
    assert remaining is None or not (remaining._programs or remaining._lessons)
