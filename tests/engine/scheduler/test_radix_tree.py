"""Leases on SGLang's own tree do what they do on the tree that is written to be read."""

from __future__ import annotations

from tests.support.radix_differential import compare


def test_both_trees_agree_after_every_operation() -> None:
    agreed = compare(seeds=[1, 2, 3, 4, 5])
    assert min(agreed[what] for what in ("hold", "trim", "move", "release")) > 20
