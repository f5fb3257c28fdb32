"""KV behind holes: every slot is in one place, whatever is done."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from agentrt_engine.sglang.scheduler.side_store import Segment, SideStore
from agentrt_engine.sglang.scheduler.tree import Prefix

PROMPT = Prefix(array("q", range(20)), "adapter", "salt")


class Slots(RuleBasedStateMachine):
    """The store next to a dictionary that says which slots it has."""

    segments = Bundle("segments")

    def __init__(self) -> None:
        super().__init__()
        self.freed: list[int] = []
        self.taken: list[int] = []
        self.inside: dict[Segment, list[int]] = {}
        self.given = 0
        self.store = SideStore(self.freed.extend)

    @rule(target=segments, start=st.integers(0, 50), tokens=st.integers(1, 30))
    def put(self, start: int, tokens: int) -> Segment:
        slots = list(range(self.given, self.given + tokens))
        self.given += tokens
        segment = self.store.put(PROMPT, start, start + tokens, slots)
        self.inside[segment] = slots
        return segment

    @rule(segment=segments, tokens=st.integers(1, 40), front=st.booleans())
    def trim(self, segment: Segment, tokens: int, front: bool) -> None:
        there = self.inside.get(segment, [])
        trim = self.store.trim_front if front else self.store.trim
        assert trim(segment, tokens) == min(tokens, len(there))
        if len(there) > tokens:
            self.inside[segment] = there[tokens:] if front else there[:-tokens]
        else:
            self.inside.pop(segment, None)

    @rule(segment=segments)
    def drop(self, segment: Segment) -> None:
        assert self.store.drop(segment) == len(self.inside.pop(segment, []))

    @rule(segment=consumes(segments))
    def take(self, segment: Segment) -> None:
        if segment in self.inside:
            slots = self.store.take(segment)
            assert slots == self.inside.pop(segment)
            self.taken += slots

    @invariant()
    def every_slot_is_in_one_place(self) -> None:
        kept = [slot for slots in self.inside.values() for slot in slots]
        assert sorted([*self.freed, *self.taken, *kept]) == list(range(self.given))
        assert self.store.tokens == len(kept)
        for segment, slots in self.inside.items():
            assert segment in self.store
            assert segment.slots == slots
            assert segment.tokens == len(slots)


test_slots = Slots.TestCase
test_slots.settings = settings(max_examples=25, stateful_step_count=25)


def test_after_a_flush_nothing_is_freed() -> None:
    freed: list[int] = []
    store = SideStore(freed.extend)
    segment = store.put(PROMPT, 5, 8, [1, 2, 3])

    store.forget_all()

    assert store.drop(segment) == store.tokens == 0
    assert freed == []


@given(
    own=st.lists(st.integers(0, 1), min_size=2, max_size=12),
    prompt=st.lists(st.integers(0, 1), max_size=14),
    data=st.data(),
)
def test_a_prompt_reaches_as_far_as_it_goes_on_alike(
    own: list[int], prompt: list[int], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(own) - 1))
    limit = data.draw(st.integers(0, len(prompt)))
    segment = Segment(Prefix(array("q", own)), start, len(own), list(range(len(own) - start)))

    alike = 0
    while alike < min(len(own), len(prompt), limit) and own[alike] == prompt[alike]:
        alike += 1

    assert segment.reach(Prefix(array("q", prompt)), limit) == (alike if alike > start else 0)


@pytest.mark.parametrize("where", [("adapter", None), (None, "salt"), (None, None)])
def test_kv_of_another_namespace_is_of_no_use(where: tuple[str | None, str | None]) -> None:
    segment = Segment(PROMPT, 5, 20, list(range(15)))

    assert segment.reach(PROMPT, 20) == 20
    assert segment.reach(Prefix(PROMPT.tokens, *where), 20) == 0
