"""The beginning and the end of a stream of output, in bounded memory."""

from __future__ import annotations


class OutputBuffer:
    """Keeps the first and the last bytes of what is added, and counts the rest.

    Args:
        limit: bytes kept, one half from the beginning and one from the end.
    """

    def __init__(self, limit: int) -> None:
        self._head_limit = limit - limit // 2
        self._tail_limit = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        """Append output."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        del self._tail[: max(0, len(self._tail) - self._tail_limit)]

    def text(self) -> str:
        """What was kept, with a line in the gap that says how much is missing."""
        missing = self.total - len(self._head) - len(self._tail)
        gap = f"\n[cut: {missing:,} of {self.total:,} bytes left out]\n" if missing else ""
        return self._head.decode(errors="replace") + gap + self._tail.decode(errors="replace")
