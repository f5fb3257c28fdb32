"""The gate found from what changed is the gate found by asking every program."""

from __future__ import annotations

from hypothesis import Phase as HypothesisPhase
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentrt_engine.policy import Context, Costs, Expectation, Phase, Program, Turn, make_policy
from agentrt_engine.policy.guard import Guard
from tests.support.fake_engine import FakeEngine, turn

TOOLS = ("bash", "edit", "pytest", "")
EXPECTATIONS = (None, Expectation.of({0.5: 1.0}), Expectation.of({0.2: 5.0, 0.9: 60.0}))
COSTS = Costs(fixed_s=0.01, decode_s=0.0, prefill_s=1e-3, position_s=1e-6)
#: Shrinking a run of 50 steps takes minutes.
PHASES = (HypothesisPhase.explicit, HypothesisPhase.reuse, HypothesisPhase.generate)
DEARER = Costs(fixed_s=0.01, decode_s=0.0, prefill_s=5e-3, position_s=1e-6)


class Gates(RuleBasedStateMachine):
    """Two equal policies: one asks every program in each round, the other what has changed."""

    @initialize(
        name=st.sampled_from(["guard", "guard-srpt", "guard:price=0", "guard:price=30"]),
        capacity=st.sampled_from([500, 2000, 20_000]),
    )
    def start(self, name: str, capacity: int) -> None:
        self.now = 0.0
        self.arrivals = 0
        made = (make_policy(name), make_policy(name))
        self.policies = [each for each in made if isinstance(each, Guard)]
        self.engine = FakeEngine(capacity_tokens=capacity, programs={}, running=[])
        self.batch: list[Turn] = []
        self.engine.running = self.batch
        for policy in self.policies:
            policy.attach(COSTS)
        for number in range(9):
            self.arrive(100 + number, None, 9)
            self.start_turn(0)
        for number in range(40):
            taught = self.programs[0]
            taught.tool, taught.paused_s = TOOLS[number % 3], -0.1 * 2 ** (number / 4)
            for policy in self.policies:
                policy.pause_ended(0.0, taught)
        self.step(1000.0, 5.0)
        for number in range(6):
            self.end_turn(0, TOOLS[number % 4], None, ends=False)

    @property
    def programs(self) -> list[Program]:
        return list(self.engine.programs.values())

    def pick(self, at: int, phase: Phase | None = None) -> Program | None:
        found = [each for each in self.programs if phase is None or each.phase is phase]
        return found[at % len(found)] if found else None

    @rule(
        prompt=st.integers(1, 600),
        output=st.sampled_from([None, 50]),
        parent=st.integers(0, 9),
    )
    def arrive(self, prompt: int, output: int | None, parent: int) -> None:
        program = Program(f"p{self.arrivals}", self.arrivals, self.now, prompt_tokens=prompt)
        program.max_tokens = output
        above = self.pick(parent, Phase.PAUSED)
        if above is not None and parent < 3:
            program.parent = above
            above.children += (program,)
        self.arrivals += 1
        assert isinstance(self.engine.programs, dict)
        self.engine.programs[program.program_id] = program
        self.engine.queue.append(program)
        for policy in self.policies:
            policy.program_started(self.now, program)

    @rule(at=st.integers(0, 99))
    def start_turn(self, at: int) -> None:
        program = self.pick(at, Phase.WAITING)
        if program is None:
            return
        program.phase = Phase.RUNNING
        self.engine.queue.remove(program)
        self.batch.append(turn(program))
        for policy in self.policies:
            policy.turn_started(self.now, self.batch[-1], cached=True)

    @precondition(lambda self: len(self.batch) > 1)
    @rule(
        at=st.integers(0, 99),
        tool=st.sampled_from(TOOLS),
        expected=st.sampled_from(EXPECTATIONS),
        ends=st.booleans(),
    )
    def end_turn(self, at: int, tool: str, expected: Expectation | None, ends: bool) -> None:
        program = self.batch.pop(at % len(self.batch)).program
        program.turns += 1
        program.output_tokens = 20 + at
        program.context_tokens = program.prompt_tokens + program.output_tokens
        program.phase = Phase.ENDED if ends else Phase.PAUSED
        program.paused_s, program.tool, program.expected = self.now, tool, expected
        for policy in self.policies:
            policy.turn_ended(self.now, program)
        if ends:
            assert isinstance(self.engine.programs, dict)
            del self.engine.programs[program.program_id]
            for policy in self.policies:
                policy.program_ended(self.now, program)

    @rule(at=st.integers(0, 99), prompt=st.integers(1, 900))
    def return_of(self, at: int, prompt: int) -> None:
        program = self.pick(at, Phase.PAUSED)
        if program is None:
            return
        program.prompt_tokens = prompt
        for policy in self.policies:
            policy.pause_ended(self.now, program)
        program.phase, program.tool, program.expected = Phase.WAITING, None, None
        self.engine.queue.append(program)

    @rule(at=st.integers(0, 99), priority=st.sampled_from([0.0, 1.0, -0.5]))
    def hint(self, at: int, priority: float) -> None:
        if (program := self.pick(at)) is not None:
            program.priority = priority
            for policy in self.policies:
                policy.hinted(self.now, program)

    @rule(costs=st.sampled_from([COSTS, DEARER]))
    def measured(self, costs: Costs) -> None:
        self.engine.costs = costs
        for policy in self.policies:
            policy.attach(costs)

    @rule(seconds=st.sampled_from([0.0, 0.004, 0.1, 3.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(kv_tokens=st.sampled_from([0.0, 10.0, 300.0, 1e5]), seconds=st.floats(0.0, 20.0))
    def step(self, kv_tokens: float, seconds: float) -> None:
        for policy in self.policies:
            policy.stepped(self.now, seconds, 1.0, kv_tokens, 0.7)

    @rule(head=st.integers(0, 99), need=st.sampled_from([1, 90, 1000]), backfill=st.booleans())
    def reclaim(self, head: int, need: int, backfill: bool) -> None:
        asked, _kept = self.policies
        waits = self.pick(head, Phase.WAITING)
        if waits is None:
            return
        idle = [
            Context(each, {}, tokens=each.context_tokens)
            for each in self.programs
            if each.phase is Phase.PAUSED and each.context_tokens
        ]
        asked._gated = False
        given, same = (
            policy.reclaim(self.now, turn(waits), need, idle, self.engine, backfill=backfill)
            for policy in self.policies
        )
        asked._gated = True
        assert given == same

    @invariant()
    def the_gates_are_equal(self) -> None:
        if not hasattr(self, "now"):
            return
        asked, kept = self.policies
        room = float(self.engine.capacity_tokens)
        price = asked._lambda(self.now, self.engine)
        asked._gate_key = asked._gate_that_lets_in(self.now, self.engine, price, room)
        kept.open_gate(self.now, self.engine)
        assert kept._gate_key == asked._gate_key
        # Histograms are built anew when they are asked: both were asked alike.
        for tool in TOOLS:
            assert kept.durations.stale(tool) == asked.durations.stale(tool)


Gates.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, phases=PHASES
)
TestTheGateAndTheVictimsAreThoseFoundByAskingEverybody = Gates.TestCase
