"""A detective that looks for the commit which broke a small program.

    agentrt run examples/repo_detective.py -n 6

Each copy makes the same git repository in its workspace: eight commits of a shop, one of
which introduces a bug. The agent has a shell, a file reader and a search.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from agentrt import Context, agent
from agentrt_tools import bash, grep, read_file

QUESTION = "Which commit broke total() in cart.py, and how?"

#: Looked at before the question is asked: a small model does not plan, so its program does.
CLUES = (
    (bash, "Which commits changed cart.py? Use bash."),
    (grep, "Search for def total with grep."),
    (read_file, "Read the file cart.py with read_file."),
    (bash, "Run git show HEAD~2 with bash."),
)


@agent(tools=[bash, read_file, grep], max_turns=3, max_tokens=96, answer_limit=150, temperature=0.0)
async def detective(ctx: Context, question: str = QUESTION) -> str:
    """You are a careful engineer. The working directory is a git repository with a bug.
    One reply is one step, like these:
    {"name": "bash", "arguments": {"command": "git log --oneline -- cart.py"}}
    {"name": "grep", "arguments": {"pattern": "def price"}}
    {"name": "read_file", "arguments": {"path": "prices.py"}}
    {"answer": "It is line 3 of prices.py."}"""
    await anyio.to_thread.run_sync(make_repository, ctx.workspace)
    for tool, clue in CLUES:
        await ctx.loop(clue, tools=[tool], tool_choice="required", max_turns=2)
    return await ctx.loop(question)


@dataclass(frozen=True)
class Commit:
    """One commit: its message and the files it writes."""

    message: str
    files: dict[str, str]


PRICES = """\
PRICES = {"apple": 30, "bread": 250, "milk": 120}


def price_of(item):
    return PRICES[item]
"""

CART = """\
from prices import price_of


class Cart:
    def __init__(self):
        self.items = []

    def add(self, item, count=1):
        self.items.append((item, count))

    def total(self):
        return sum(price_of(item) * count for item, count in self.items)
"""

DISCOUNT = """\
def discounted(cents, percent):
    return cents - cents * percent // 100
"""

CART_WITH_DISCOUNT = (
    CART.replace("import price_of\n", "import price_of\nfrom discount import discounted\n")
    .replace("def total(self):", "def total(self, percent=0):")
    .replace(
        "return sum(price_of(item) * count for item, count in self.items)",
        "cents = sum(price_of(item) * count for item, count in self.items)\n"
        "        return discounted(cents, percent)",
    )
)

#: The bug: the loop over (item, count) forgets the count.
BROKEN_CART = CART_WITH_DISCOUNT.replace(
    "sum(price_of(item) * count for item, count in self.items)",
    "sum(price_of(item) for item, _ in self.items)",
)

TEST_CART = """\
from cart import Cart


def test_total_counts_every_piece():
    cart = Cart()
    cart.add("apple", 3)
    cart.add("bread")
    assert cart.total() == 340
"""

README = "# Shop\n\nPrices are in cents. Run the tests with `python -m pytest`.\n"

COMMITS = (
    Commit("Start the shop", {"README.md": README, "prices.py": PRICES}),
    Commit("Add the cart", {"cart.py": CART}),
    Commit("Test the total of the cart", {"test_cart.py": TEST_CART}),
    Commit("Sell cheese", {"prices.py": PRICES.replace("120}", '120, "cheese": 480}')}),
    Commit("Add discounts", {"discount.py": DISCOUNT, "cart.py": CART_WITH_DISCOUNT}),
    Commit("Simplify total()", {"cart.py": BROKEN_CART}),
    Commit("Explain discounts", {"README.md": README + "\nDiscounts are whole percents.\n"}),
    Commit(
        "Raise the price of bread",
        {"prices.py": PRICES.replace("250", "270").replace("120}", '120, "cheese": 480}')},
    ),
)


def make_repository(directory: Path) -> None:
    """Commit `COMMITS` to a new repository; the same hashes every time."""
    _git(directory, "init", "--quiet", "--initial-branch=main")
    for day, commit in enumerate(COMMITS, start=1):
        for name, content in commit.files.items():
            (directory / name).write_text(content)
        _git(directory, "add", "--all")
        _git(directory, "commit", "--quiet", f"--message={commit.message}", day=day)


def _git(directory: Path, *arguments: str, day: int = 1) -> None:
    person = {"NAME": "Ada", "EMAIL": "ada@example.org", "DATE": f"2026-03-{day:02} 12:00 +0000"}
    identity = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in person.items()}
    no_configuration = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    environment = {"PATH": os.environ["PATH"], **identity, **no_configuration}
    subprocess.run(["git", *arguments], cwd=directory, env=environment, check=True)
