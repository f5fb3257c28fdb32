"""Leases on SGLang's own tree do what they do on the tree that is written to be read."""

from __future__ import annotations

from tests.support.radix_differential import compare


def test_both_trees_agree_after_every_operation() -> None:
    agreed = compare(seeds=list(range(1, 11)))
    assert min(agreed[what] for what in ("hold", "trim", "move", "release")) > 20
    assert min(agreed[f"{what} a hole"] for what in ("trim to", "front to", "return over")) > 10
