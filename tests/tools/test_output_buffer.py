"""The bounded buffer, against cutting the whole output at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentrt_tools.output_buffer import OutputBuffer

pieces = st.lists(st.binary(max_size=20).map(lambda data: data.hex().encode()), max_size=8)


@given(pieces, st.integers(0, 40))
def test_the_beginning_and_the_end_are_kept_however_the_output_arrives(
    chunks: list[bytes], limit: int
) -> None:
    buffer = OutputBuffer(limit)
    for chunk in chunks:
        buffer.add(chunk)
    whole = b"".join(chunks).decode()
    assert buffer.total == len(whole)
    if len(whole) <= limit:
        assert buffer.text() == whole
        return
    head, tail = limit - limit // 2, limit // 2
    missing = len(whole) - limit
    note = f"\n[cut: {missing} of {len(whole)} bytes left out]\n"
    assert buffer.text() == whole[:head] + note + whole[len(whole) - tail :]
