"""Shared segments against a look at every pair of prompts."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.simulated.shared_prefixes import Segment, SharedPrefixes

#: Tokens of a block are a function of its identity, so that equal identities are equal tokens.
SIZES = {0: 7, 1: 16, 2: 24}

Prompt = list[int]
Programs = list[list[Prompt]]

programs_strategy = st.lists(
    st.lists(st.lists(st.sampled_from([0, 1, 2]), max_size=6), min_size=1, max_size=3),
    min_size=1,
    max_size=5,
)


def blocks(prompt: Prompt) -> list[tuple[int, int]]:
    return [(block, SIZES[block]) for block in prompt]


def filled(programs: Programs, page: int) -> SharedPrefixes:
    prefixes = SharedPrefixes(page)
    for index, prompts in enumerate(programs):
        for prompt in prompts:
            prefixes.add(index, blocks(prompt))
    return prefixes


def tokens(path: tuple[Segment, ...]) -> int:
    return sum(segment.end - segment.start for segment in path)


def common(one: Prompt, other: Prompt) -> int:
    """Blocks that both begin with."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def prompts_of(programs: Programs) -> Iterator[tuple[int, Prompt]]:
    for index, prompts in enumerate(programs):
        for prompt in prompts:
            yield index, prompt


@given(programs=programs_strategy, page=st.sampled_from([1, 8, 16]))
def test_a_path_is_the_longest_front_that_another_program_has(
    programs: Programs, page: int
) -> None:
    prefixes = filled(programs, page)
    for index, prompt in prompts_of(programs):
        shared = max(
            (common(prompt, other) for owner, other in prompts_of(programs) if owner != index),
            default=0,
        )
        # What two other programs share and this one has too is shared as well, and the same.
        whole = sum(SIZES[block] for block in prompt[:shared]) // page * page
        assert tokens(prefixes.path(blocks(prompt))) == whole


@given(programs=programs_strategy, page=st.sampled_from([1, 8, 16]))
def test_segments_follow_each_other_without_gaps_in_whole_pages(
    programs: Programs, page: int
) -> None:
    prefixes = filled(programs, page)
    for _index, prompt in prompts_of(programs):
        end = 0
        for segment in prefixes.path(blocks(prompt)):
            assert segment.start == end
            assert segment.end > segment.start
            assert segment.end % page == 0
            end = segment.end


@given(programs=programs_strategy, page=st.sampled_from([1, 8, 16]))
def test_two_prompts_have_a_segment_in_common_where_their_tokens_are_the_same(
    programs: Programs, page: int
) -> None:
    prefixes = filled(programs, page)
    for first, one in prompts_of(programs):
        for second, other in prompts_of(programs):
            mine, theirs = (prefixes.path(blocks(prompt)) for prompt in (one, other))
            same = 0
            while same < min(len(mine), len(theirs)) and mine[same] is theirs[same]:
                same += 1
            assert not set(map(id, mine[same:])) & set(map(id, theirs[same:]))
            equal = sum(SIZES[block] for block in one[: common(one, other)])
            assert tokens(mine[:same]) <= equal
            if first != second:
                assert tokens(mine[:same]) == equal // page * page


def test_a_prefix_that_one_program_repeats_is_not_shared() -> None:
    prefixes = filled([[[1, 1], [1, 1, 2]]], 16)
    assert prefixes.path(blocks([1, 1, 2])) == ()


def test_segments_are_cut_where_prompts_part_and_where_one_stops() -> None:
    prefixes = filled([[[1, 1, 1, 1]], [[1, 1, 1, 1]], [[1, 1, 2]], [[1]]], 16)
    path = prefixes.path(blocks([1, 1, 1, 1]))
    assert [(segment.start, segment.end) for segment in path] == [(0, 16), (16, 32), (32, 64)]
