"""Tables of `agentrt lora`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from agentrt.lora.divergence import PairDivergence
from agentrt_engine.adapters.training import Trained


def trained_table(made: Mapping[str, Trained]) -> Table:
    """A line per adapter: how well it does its task, before and after."""
    table = Table(box=None, pad_edge=False)
    for heading in ("adapter", "variant"):
        table.add_column(heading)
    for heading in ("steps", "seconds", "loss before", "after", "exact before", "after"):
        table.add_column(heading, justify="right")
    for name, trained in made.items():
        before, after = trained.before, trained.after
        table.add_row(
            name,
            trained.training.variant,
            f"{trained.training.steps}",
            f"{trained.seconds:.0f}",
            f"{before.loss:.3f}",
            f"{after.loss:.3f}",
            f"{before.exact:.0%}",
            f"{after.exact:.0%}",
        )
    return table


def divergence_table(pairs: Sequence[PairDivergence]) -> Table:
    """A line per pair."""
    table = Table(box=None, pad_edge=False)
    for heading in ("KV from", "read by"):
        table.add_column(heading, overflow="fold")
    for heading in ("tokens", "reused", "mean KL", "p95", "max", "top-1", "changed", "from token"):
        table.add_column(heading, justify="right")
    for pair in pairs:
        table.add_row(
            escape(pair.producer),
            "itself" if pair.producer == pair.consumer else escape(pair.consumer),
            f"{pair.tokens:,}",
            f"{pair.reused:.1%}",
            f"{pair.mean_kl:.2g}",
            f"{pair.kl_quantile(0.95):.2g}",
            f"{pair.max_kl:.2g}",
            f"{pair.agreement:.1%}",
            f"{pair.changed}/{len(pair.comparisons)}",
            "–" if pair.first_difference is None else f"{pair.first_difference}",
        )
    return table
