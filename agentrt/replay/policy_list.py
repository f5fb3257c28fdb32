"""The policies of a comparison, as a user writes them in one line."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def split_policies(texts: Iterable[str], known: Collection[str]) -> list[str]:
    """Specifications such as `guard:headroom=0.05`, in order, each once.

    Commas separate policies as well as parameters: a piece belongs to the policy before it if it
    is an assignment and does not begin with the name of a policy.

    Args:
        texts: each one or several specifications.
        known: names of policies.
    """
    found: list[str] = []
    for text in texts:
        here: list[str] = []
        for piece in map(str.strip, text.split(",")):
            name, colon, _ = piece.partition(":")
            assigns = "=" in piece and not (colon and "=" not in name) and name not in known
            if here and ":" in here[-1] and assigns:
                here[-1] += f",{piece}"
            elif piece:
                here.append(piece)
        found += here
    return list(dict.fromkeys(found))
