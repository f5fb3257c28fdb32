"""Which parts of prompts several programs have in common, found before a run.

All prompts of a workload form one radix tree of token blocks. A node that two programs pass
through is shared; below the last shared node a prompt is its program's own. So at run time an
engine handles a few shared segments and one private tail per program instead of every block.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Segment:
    """A run of tokens that several programs' prompts share.

    Attributes:
        start, end: positions of its first token and behind its last, multiples of the page.
    """

    start: int
    end: int


@dataclass(slots=True)
class _Node:
    depth_tokens: int
    owner: int | None
    shared: bool = False
    stops: bool = False
    children: dict[Hashable, _Node] = field(default_factory=dict)
    segment: Segment | None = None


class SharedPrefixes:
    """A radix tree of blocks, filled with all prompts first and asked for segments then.

    Args:
        page: tokens of a page of KV memory; segments are cut to whole pages.
    """

    def __init__(self, page: int) -> None:
        self._page = page
        self._root = _Node(0, None)

    def add(self, program: int, blocks: Sequence[tuple[Hashable, int]]) -> None:
        """A prompt of `program`: its blocks from the front, each an identity and its tokens."""
        node = self._root
        for identity, tokens in blocks:
            child = node.children.get(identity)
            if child is None:
                child = _Node(node.depth_tokens + tokens, program)
                node.children[identity] = child
            elif child.owner != program:
                child.shared = True
            node = child
        node.stops = True

    def path(self, blocks: Sequence[tuple[Hashable, int]]) -> tuple[Segment, ...]:
        """The shared segments a prompt begins with, after all prompts were added."""
        node, run = self._root, []
        for identity, _tokens in blocks:
            node = node.children[identity]
            if not node.shared:
                break
            run.append(node)
        segments: list[Segment] = []
        for node in run:
            segment = node.segment or self._segment_of(node, segments[-1].end if segments else 0)
            if not segments or segments[-1] is not segment:
                segments.append(segment)
        return tuple(segment for segment in segments if segment.end > segment.start)

    def _segment_of(self, node: _Node, start: int) -> Segment:
        """A segment that begins at `node` and runs to where the shared tree branches."""
        nodes = [node]
        while (only := self._only_shared_child(nodes[-1])) is not None:
            nodes.append(only)
        end = nodes[-1].depth_tokens // self._page * self._page
        segment = Segment(start, max(start, end))
        for member in nodes:
            member.segment = segment
        return segment

    @staticmethod
    def _only_shared_child(node: _Node) -> _Node | None:
        """The child that every prompt through `node` goes on to, if it is shared."""
        if node.stops or len(node.children) != 1:
            return None
        (child,) = node.children.values()
        return child if child.shared else None
