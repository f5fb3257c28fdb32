"""The closed forms of a decoding batch against one step at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.simulated.batch import DecodeBatch

FIXED, PER_TOKEN = 5_000, 3


@dataclass(slots=True)
class Naive:
    """Each turn is its length now and its steps to go."""

    page: int
    turns: dict[str, list[int]] = field(default_factory=dict)

    def step(self) -> tuple[int, int]:
        """One step: its duration and the pages it needed."""
        duration = FIXED + PER_TOKEN * sum(length for length, _left in self.turns.values())
        pages = 0
        for turn in self.turns.values():
            pages += turn[0] % self.page == 0
            turn[0] += 1
            turn[1] -= 1
        return duration, pages

    def steps(self, count: int) -> tuple[int, int]:
        """What `count` steps from now take and need; changes nothing."""
        ahead = Naive(self.page, {name: list(turn) for name, turn in self.turns.items()})
        done = [ahead.step() for _ in range(count)]
        return sum(duration for duration, _pages in done), sum(pages for _duration, pages in done)


@dataclass(slots=True)
class Both:
    """A batch and its naive twin, through the same joins, leaves and steps."""

    batch: DecodeBatch[str]
    naive: Naive
    tickets: dict[str, int] = field(default_factory=dict)
    joined: int = 0

    def join(self, length: int, steps: int) -> None:
        name = f"t{self.joined}"
        self.joined += 1
        self.tickets[name] = self.batch.join(name, length, steps)
        self.naive.turns[name] = [length, steps]

    def leave(self, name: str) -> None:
        length, _left = self.naive.turns.pop(name)
        assert self.batch.leave(self.tickets.pop(name)) == length

    def advance(self, steps: int) -> None:
        self.batch.advance(steps)
        for _ in range(steps):
            self.naive.step()


lengths = st.integers(1, 70)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("join"), lengths, st.integers(1, 60)),
        st.tuples(st.just("leave"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("advance"), st.integers(0, 100), st.just(0)),
    ),
    min_size=1,
    max_size=25,
)


def replayed(page: int, script: list[tuple[str, int, int]]) -> Both:
    """A batch after those actions, with at least one turn; no turn is past its end."""
    both = Both(DecodeBatch(page, FIXED, PER_TOKEN), Naive(page))
    for action, first, second in script:
        if action == "join":
            both.join(first, second)
        elif action == "leave" and both.tickets:
            both.leave(sorted(both.tickets)[first % len(both.tickets)])
        elif action == "advance" and both.tickets:
            both.advance(first % (both.batch.steps_to_end() + 1))
            for name in both.batch.ended():
                assert both.naive.turns[name][1] == 0
                both.leave(name)
    if not both.tickets:
        both.join(3, 5)
    return both


pages = st.sampled_from([1, 2, 5, 16])


@given(page=pages, script=actions)
def test_it_knows_its_tokens_and_its_next_end(
    page: int, script: list[tuple[str, int, int]]
) -> None:
    both = replayed(page, script)
    turns = both.naive.turns.values()
    assert both.batch.turns == len(turns)
    assert both.batch.kv_tokens == sum(length for length, _left in turns)
    assert both.batch.steps_to_end() == min(left for _length, left in turns)


@given(page=pages, script=actions, steps=st.integers(0, 60))
def test_a_stretch_of_steps_takes_and_needs_what_its_steps_do(
    page: int, script: list[tuple[str, int, int]], steps: int
) -> None:
    both = replayed(page, script)
    assert (both.batch.duration(steps), both.batch.pages_for(steps)) == both.naive.steps(steps)


@given(page=pages, script=actions, limit=st.integers(1, 60), room=st.integers(0, 80))
def test_steps_within_is_the_most_that_the_pages_are_enough_for(
    page: int, script: list[tuple[str, int, int]], limit: int, room: int
) -> None:
    both = replayed(page, script)
    expected = max(steps for steps in range(limit + 1) if both.naive.steps(steps)[1] <= room)
    assert both.batch.steps_within(room, limit) == expected


@given(
    page=pages,
    script=actions,
    limit=st.integers(1, 60),
    share=st.floats(0, 1.2),
    per_token=st.sampled_from([0, 1, 1000, 10**9]),
)
def test_steps_until_is_the_fewest_that_take_as_long(
    page: int, script: list[tuple[str, int, int]], limit: int, share: float, per_token: int
) -> None:
    batch = replayed(page, script).batch
    batch.per_token = per_token
    duration = max(1, round(batch.duration(limit) * share))
    expected = next(
        (steps for steps in range(1, limit) if batch.duration(steps) >= duration), limit
    )
    assert batch.steps_until(duration, limit) == expected


@given(page=pages, script=actions)
def test_a_turn_ends_when_its_steps_are_done_and_not_before(
    page: int, script: list[tuple[str, int, int]]
) -> None:
    both = replayed(page, script)
    left = both.batch.steps_to_end()
    both.advance(left - 1)
    assert both.batch.ended() == []
    both.advance(1)
    over = {name for name, turn in both.naive.turns.items() if turn[1] == 0}
    assert set(both.batch.ended()) == over
