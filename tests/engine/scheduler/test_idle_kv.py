"""What the engine holds for paused programs, on a tree that is written to be read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.policy import Program
from agentrt_engine.sglang.scheduler.idle_kv import Held, IdleKv
from tests.support.token_trie import TokenTrie

SYSTEM = list(range(100, 110))


def hold(idle: IdleKv, tree: TokenTrie, name: str, tokens: Sequence[int]) -> Held:
    place = tree.insert(tokens)
    return idle.hold(Program(name, 0, 0.0), "", place.prefix, place.length, place.node)


@pytest.fixture
def tree() -> TokenTrie:
    return TokenTrie(1000)


@pytest.fixture
def idle(tree: TokenTrie) -> IdleKv:
    return IdleKv(tree)


def test_a_held_context_cannot_be_evicted(idle: IdleKv, tree: TokenTrie) -> None:
    held = hold(idle, tree, "a", SYSTEM)

    tree.evict(1000)

    assert tree.matched([*SYSTEM, 1]).length == 10
    assert held.context.tokens == 10


def test_what_two_programs_share_counts_for_neither(idle: IdleKv, tree: TokenTrie) -> None:
    a = hold(idle, tree, "a", [*SYSTEM, 1, 2, 3])
    b = hold(idle, tree, "b", [*SYSTEM, 4, 5])
    idle.measure_all()

    assert (a.context.tokens, a.context.start, a.context.end) == (3, 10, 13)
    assert (b.context.tokens, b.context.start) == (2, 10)


def test_when_the_other_one_goes_it_counts_again(idle: IdleKv, tree: TokenTrie) -> None:
    a = hold(idle, tree, "a", [*SYSTEM, 1, 2, 3])
    b = hold(idle, tree, "b", [*SYSTEM, 4, 5])
    idle.measure_all()
    idle.release(b.program)

    assert idle.measure_all()
    assert a.context.tokens == 13


def test_a_trim_takes_the_tail_and_keeps_the_rest(idle: IdleKv, tree: TokenTrie) -> None:
    held = hold(idle, tree, "a", [*SYSTEM, 1, 2, 3])

    assert idle.trim(held, 4) == 4
    tree.evict(1000)

    assert tree.matched([*SYSTEM, 1, 2, 3]).length == 9
    assert held.context.tokens == 9


def test_a_trim_takes_whole_pages(idle: IdleKv) -> None:
    tree = TokenTrie(1000, page_size=4)
    idle = IdleKv(tree)
    held = hold(idle, tree, "a", list(range(16)))

    assert idle.trim(held, 5) == 8
    assert held.length == 8


def test_a_trim_of_all_leaves_others_what_they_share(idle: IdleKv, tree: TokenTrie) -> None:
    a = hold(idle, tree, "a", [*SYSTEM, 1, 2, 3])
    hold(idle, tree, "b", [*SYSTEM, 4, 5])

    assert idle.trim(a, 13) == 3
    assert idle.get(a.program) is None
    assert tree.locked == 12


def test_a_next_turn_moves_the_lock_to_what_it_begins_with(idle: IdleKv, tree: TokenTrie) -> None:
    held = hold(idle, tree, "a", [*SYSTEM, 1, 2, 3])
    match = tree.matched([*SYSTEM, 1, 7, 8])

    idle.move(held, match.prefix, match.length, match.node)

    assert tree.locked == 11
    assert held.context.tokens == 11


def test_a_flush_leaves_nothing_to_unlock(idle: IdleKv, tree: TokenTrie) -> None:
    held = hold(idle, tree, "a", SYSTEM)
    tree.clear()
    idle.forget_all()

    assert len(idle) == 0
    assert idle.release(held.program) is False


def test_meanwhile_the_tree_has_no_lock_of_ours(idle: IdleKv, tree: TokenTrie) -> None:
    hold(idle, tree, "a", SYSTEM)

    with idle.unlocked():
        assert tree.locked == 0
    assert tree.locked == 10


contexts = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=6)


@given(contexts, st.data())
def test_what_is_freed_is_what_the_tree_says(prompts: list[list[int]], data: st.DataObject) -> None:
    page = data.draw(st.sampled_from([1, 2, 4]))
    tree = TokenTrie(1000, page_size=page)
    idle = IdleKv(tree)
    held = [hold(idle, tree, str(n), each) for n, each in enumerate(prompts) if len(each) >= page]
    for _ in range(data.draw(st.integers(0, 8))):
        one = data.draw(st.sampled_from(held)) if held else None
        if one is None or idle.get(one.program) is not one:
            continue
        before = tree.free_tokens()
        asked = data.draw(st.integers(1, 14))
        own = idle.measure(one)
        freed = idle.trim(one, asked)
        assert freed == tree.free_tokens() - before
        assert freed >= min(asked, own)
        assert all(other.context.tokens >= 0 for other in idle)
    for each in list(idle):
        idle.release(each.program)
    assert tree.locked == 0
