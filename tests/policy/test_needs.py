"""The search that goes on where it ended finds what one from the front finds."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from agentrt_engine.policy.needs import Needs

OUTPUT = 3.5

#: (what happens, where, tokens, outputs, room); a position beyond the end is one within.
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["insert", "insert", "remove", "replace"]),
        st.integers(0, 30),
        st.integers(0, 50),
        st.integers(0, 1),
        st.integers(0, 400),
    ),
    max_size=60,
)


@given(CHANGES)
def test_the_first_beyond_is_found_from_anywhere(
    changes: list[tuple[str, int, int, int, int]],
) -> None:
    needs = Needs()
    plain: list[tuple[int, int]] = []
    for what, at, tokens, outputs, room in changes:
        if what == "insert":
            at %= len(plain) + 1
            needs.insert(at, tokens, outputs)
            plain.insert(at, (tokens, outputs))
        elif plain and what == "remove":
            at %= len(plain)
            needs.remove(at)
            del plain[at]
        elif plain:
            at %= len(plain)
            needs.replace(at, tokens, outputs)
            plain[at] = (tokens, outputs)
        sums = list(accumulate(tokens + OUTPUT * outputs for tokens, outputs in plain))
        expected = next((i for i, total in enumerate(sums) if i and total > room), None)
        assert needs.first_beyond(room, OUTPUT) == expected
        assert needs.between(1, at, OUTPUT) == sum(t + OUTPUT * o for t, o in plain[1:at])
