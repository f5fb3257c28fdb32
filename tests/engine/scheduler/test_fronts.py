"""Contexts that lose their front, in a model of SGLang's scheduler."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from agentrt_engine.policy import Program
from agentrt_engine.sglang.scheduler.idle_kv import Held, IdleKv
from agentrt_engine.sglang.scheduler.programs import End
from agentrt_engine.sglang.scheduler.room import Cause
from agentrt_engine.sglang.scheduler.state import Limits
from agentrt_engine.wire.identity import ProgramTag
from tests.support.scheduler_loop import Request, SchedulerLoop
from tests.support.token_trie import TokenTrie

SYSTEM = list(range(1000, 1010))


def turn(
    loop: SchedulerLoop, name: str, prompt: Sequence[int], output: int = 4, *, final: bool = False
) -> Request:
    """A turn from its request to its end."""
    request = loop.ask(ProgramTag(name, final=final), list(prompt), output)
    for _ in range(400):
        loop.step()
        if request not in loop.queue and request not in loop.running:
            return request
    raise AssertionError("a turn that never ends")


def held(loop: SchedulerLoop, request: Request) -> Held:
    found = loop.programs.state.idle.get(request.turn.live.program)
    assert found is not None
    return found


def test_the_front_yields_and_the_rest_is_used_again() -> None:
    loop = SchedulerLoop("asym", 200)
    first = turn(loop, "a", range(100))

    turn(loop, "b", range(500, 620), final=True)
    context = held(loop, first).context

    assert (context.start, context.end) == (0, 104)
    assert 0 < context.hole == 104 - context.tokens
    again = turn(loop, "a", [*first.tokens, 7])
    assert again.turn.turn.hit_tokens == context.tokens
    assert loop.programs.state.totals.lost_tokens == 100 - context.tokens


def test_what_others_share_is_not_the_front_that_yields() -> None:
    loop = SchedulerLoop("asym", 200)
    one = turn(loop, "a", [*SYSTEM, *range(60)])
    turn(loop, "b", [*SYSTEM, *range(100, 140)])

    turn(loop, "c", range(500, 590), final=True)

    context = held(loop, one).context
    assert context.hole > 0
    assert context.start == len(SYSTEM)
    assert loop.tree.matched([*SYSTEM, 9]).length == len(SYSTEM)


def test_a_hole_that_somebody_else_computed_is_used_at_once() -> None:
    loop = SchedulerLoop("asym", 400)
    first = turn(loop, "a", range(100))
    kept = held(loop, first)
    loop.programs.state.idle.cut(kept, 10, 60)

    turn(loop, "other", [*range(70), 9])
    again = turn(loop, "a", [*first.tokens, 7])

    assert again.hit == again.turn.turn.hit_tokens == len(first.tokens)
    assert loop.tree.outside == 0


def test_a_turn_that_is_called_off_in_the_hole_leaves_nothing() -> None:
    loop = SchedulerLoop("asym", 400)
    first = turn(loop, "a", range(100))
    loop.programs.state.idle.cut(held(loop, first), 10, 60)
    request = loop.ask(ProgramTag("a"), [*first.tokens, 7], 5)
    loop.step()
    assert loop.chunked is request
    assert loop.tree.outside == 44

    loop.abort(request)

    assert loop.tree.locked == 0


def test_the_end_of_a_program_gives_back_what_is_behind_its_hole() -> None:
    loop = SchedulerLoop("asym", 400)
    first = turn(loop, "a", range(100))
    loop.programs.state.idle.cut(held(loop, first), 10, 60)

    loop.programs.lifecycle.end(first.turn.live, End.HINT)

    assert loop.tree.locked == 0


def test_all_that_is_held_can_be_taken() -> None:
    loop = SchedulerLoop("asym", 400, limits=Limits(lease_share=1.0))
    first = turn(loop, "a", range(100))
    loop.programs.state.idle.cut(held(loop, first), 10, 60)

    assert loop.programs.room.release(first.turn.live, Cause.DEMOTED) == 54

    assert loop.tree.locked == 0


def test_two_turns_with_holes_take_turns() -> None:
    """SGLang takes one request at a time from chunk to chunk."""
    loop = SchedulerLoop("asym", 400)
    firsts = [turn(loop, name, range(at, at + 50)) for name, at in (("a", 0), ("b", 100))]
    for first in firsts:
        loop.programs.state.idle.cut(held(loop, first), 10, 20)

    requests = [
        loop.ask(ProgramTag(name), [*first.tokens, 7], 5)
        for name, first in zip("ab", firsts, strict=True)
    ]
    chunked = []
    for _ in range(3):
        loop.step()
        chunked.append(loop.chunked)
    assert chunked == [*requests, None]
    assert [each.hit for each in requests] == [54, 54]


steps = st.lists(
    st.tuples(
        st.sampled_from(["trim", "front", "front", "move", "fill", "measure"]), st.integers(1, 40)
    ),
    max_size=12,
)


@given(st.integers(4, 60), st.integers(0, 30), steps, st.sampled_from([1, 4]))
def test_what_is_freed_is_what_memory_says(
    length: int, shared: int, steps: list[tuple[str, int]], page: int
) -> None:
    tree = TokenTrie(1000, page)
    idle = IdleKv(tree, fronts=True)
    for number, prompt in enumerate(([*range(shared), 900], list(range(length)))):
        place = tree.insert(prompt)
        kept = idle.hold(
            Program(str(number), number, 0.0), "", place.prefix, place.length, place.node
        )
    for what, tokens in steps:
        before = tree.free_tokens()
        if idle.get(kept.program) is None:
            break
        own = idle.measure(kept)
        if what in ("trim", "front"):
            freed = idle.trim(kept, tokens) if what == "trim" else idle.trim_front(kept, tokens)
            assert min(tokens, own) <= freed == tree.free_tokens() - before
        elif what == "fill" and kept.segment is not None:
            tree.insert(kept.prefix.tokens[: kept.segment.start])
            end = kept.segment.end
            idle.move(kept, kept.prefix, end, idle.fill(kept))
            assert (kept.context.hole, kept.end) == (0, end)
        elif what == "move" and kept.segment is None and kept.length > page:
            shorter = kept.length - page
            idle.move(kept, kept.prefix, shorter, tree.node_at(kept.prefix, shorter))
        context = kept.context
        if idle.get(kept.program) is not None:
            assert context.end == kept.end
    for each in list(idle):
        idle.release(each.program)
    assert tree.locked == 0


class Continuing:
    """Programs that go on from what they got, in a memory that does not hold them; one seed."""

    def __init__(self, policy: str, seed: int, page: int) -> None:
        self.draw = random.Random(seed)
        self.loop = SchedulerLoop(policy, 300, page=page)
        self.open: dict[str, Request] = {}
        self.contexts: dict[str, list[int]] = {}
        self.holes = 0

    def run(self, actions: int) -> None:
        draw, loop = self.draw, self.loop
        for _ in range(actions):
            name = draw.choice("abcdef")
            if (request := self.open.get(name)) is None:
                context = self.contexts.get(
                    name, [*SYSTEM, *(ord(name) * 100 + n for n in range(30))]
                )
                if draw.random() < 0.1:
                    context = context[: draw.randint(5, len(context))]
                prompt = [*context, *(draw.randrange(9) for _ in range(draw.randint(1, 20)))]
                if len(prompt) > 150:
                    prompt = prompt[:20]
                self.open[name] = loop.ask(ProgramTag(name), prompt, draw.randint(1, 15))
            elif draw.random() < 0.05:
                loop.abort(request)
                del self.open[name]
            for _ in range(draw.randint(1, 6)):
                loop.step()
                self.holes += loop.chunked is not None
            self.collect()

    def collect(self) -> None:
        for name, request in list(self.open.items()):
            if request not in self.loop.queue and request not in self.loop.running:
                self.contexts[name] = request.tokens
                del self.open[name]


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 4]),
    st.sampled_from(["asym", "guard:fronts=yes"]),
)
@settings(max_examples=8, deadline=None)
def test_programs_that_go_on_lose_nothing_but_time(seed: int, page: int, policy: str) -> None:
    world = Continuing(policy, seed, page)

    world.run(60)
    for _ in range(2000):
        world.loop.step(0.05)
        if not world.loop.queue and not world.loop.running:
            break
    assert not world.loop.queue, "a turn that never starts"
    for live in list(world.loop.programs.state.table):
        world.loop.programs.lifecycle.end(live, End.HINT)

    assert world.loop.tree.locked == 0


def test_those_programs_do_have_holes() -> None:
    world = Continuing("asym", 1, 1)
    world.run(80)
    assert world.holes > 3
