"""The graph of a run: what follows what, the critical path, what waited for whom, the files."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import anyio
import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt import Context, Program, ProgramState, ToolCall, ToolOutcome, Turn, agent, connect
from agentrt.cli.main import run as agentrt
from agentrt.errors import SettingError
from agentrt.testing import says
from agentrt.workflow import critical_path, time_on_path, waits, workflow_graph, write_graph
from agentrt.workflow.graph_file import as_dot
from tests.support.scripted_engine import ScriptedEngine


def turn(started: float, ended: float, *tools: ToolCall, queue_s: float | None = None) -> Turn:
    return Turn(started, ended, 10, 5, None, queue_s, True, "stop", list(tools))


def call(started: float, ended: float, name: str = "bash") -> ToolCall:
    return ToolCall(name, started, ended, ToolOutcome.FINISHED)


def program(
    name: str, started: float, ended: float, *turns: Turn, parent: Program | None = None
) -> Program:
    made = Program(name, name, 1, parent, turns=list(turns), started=started, ended=ended)
    made.state = ProgramState.FINISHED
    if parent is not None:
        parent.children.append(made)
    return made


@pytest.fixture
def family() -> list[Program]:
    """A boss that starts two children after its first turn, calls a tool, and waits for both."""
    boss = program("boss", 100.0, 112.0, turn(100.0, 102.0, call(102.5, 103.0)), turn(110.0, 111.0))
    quick = program("quick", 102.0, 105.0, turn(102.0, 105.0), parent=boss)
    slow = program(
        "slow", 102.0, 109.0, turn(102.0, 104.0, call(104.0, 108.0), queue_s=0.5), parent=boss
    )
    return [boss, quick, slow]


def names(graph: nx.DiGraph, nodes: list[str]) -> list[str]:
    return [f"{graph.nodes[node]['agent']}: {graph.nodes[node]['label']}" for node in nodes]


def test_the_critical_path_goes_through_the_child_that_ended_last(family: list[Program]) -> None:
    graph = workflow_graph(family)
    path = critical_path(graph)
    assert names(graph, path) == [
        "boss: boss#1 begins",
        "boss: turn 1",
        "slow: slow#1 begins",
        "slow: turn 1",
        "slow: bash",
        "slow: slow#1 finished",
        "boss: turn 2",
        "boss: boss#1 finished",
    ]
    spent = time_on_path(graph, path)
    assert spent == pytest.approx({"turn": 4.5, "tool": 4.0, "code": 3.0, "queue": 0.5})


def test_what_came_in_between_separates(family: list[Program]) -> None:
    graph = workflow_graph(family)
    before = names(graph, list(graph.predecessors("boss/3")))
    # The second turn follows the tool and both children; the first turn lies before those.
    assert sorted(before) == ["boss: bash", "quick: quick#1 finished", "slow: slow#1 finished"]
    assert names(graph, list(graph.predecessors("slow/0"))) == ["boss: turn 1"]


def test_a_parent_waits_from_the_end_of_what_it_did_itself(family: list[Program]) -> None:
    found = [(wait.program, wait.child, wait.seconds) for wait in waits(workflow_graph(family))]
    assert found == [("boss", "slow", 6.0), ("boss", "quick", 2.0)]


def test_programs_that_have_not_ended_are_left_out_with_their_children(
    family: list[Program],
) -> None:
    boss, quick, _slow = family
    quick.ended = None
    assert [p["id"] for p in workflow_graph(family).graph["programs"]] == ["boss", "slow"]
    boss.ended = None
    graph = workflow_graph(family)
    assert not graph and critical_path(graph) == [] and waits(graph) == []


@st.composite
def runs(draw: st.DrawFn) -> list[Program]:
    """Programs of random shape; steps may take no time at all, and may overlap."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    grid = draw(st.sampled_from([0.5, 1e-3]))
    made: list[Program] = []

    def time_in(low: float, high: float) -> float:
        return min(high, low + grid * rng.randint(0, int((high - low) / grid)))

    def add(low: float, high: float, parent: Program | None, depth: int) -> None:
        started = time_in(low, high)
        ended = time_in(started, high)
        turns = []
        now = started
        for _ in range(rng.randint(0, 3)):
            begins = time_in(now, ended)
            now = time_in(begins, ended)
            tools = []
            for _ in range(rng.randint(0, 2)):
                called = time_in(now, ended)
                tools.append(call(called, time_in(called, ended)))
            turns.append(turn(begins, now, *tools))
            now = max([now, *(tool.ended for tool in tools)])
        this = program(f"p{len(made)}", started, ended, *turns, parent=parent)
        made.append(this)
        for _ in range(rng.randint(0, 3) if depth else 0):
            add(started, ended, this, depth - 1)

    add(0.0, 20.0, None, 2)
    return made


@given(programs=runs())
def test_the_path_accounts_for_the_whole_run(programs: list[Program]) -> None:
    graph = workflow_graph(programs)
    assert nx.is_directed_acyclic_graph(graph)
    assert min(nx.get_edge_attributes(graph, "gap_s").values()) >= 0
    path = critical_path(graph)
    root = programs[0]
    assert path[0] == f"{root.program_id}/0"
    assert root.started is not None and root.ended is not None
    assert sum(time_on_path(graph, path).values()) == pytest.approx(root.ended - root.started)
    # Everything leads from the beginning of the run to its end.
    assert set(graph) == nx.descendants(graph, path[0]) | {path[0]}
    assert all(nx.has_path(graph, node, path[-1]) for node in graph)


def test_dot_is_what_graphviz_reads(family: list[Program], tmp_path: Path) -> None:
    family[1].agent = 'quick "one" \\ two'
    dot = as_dot(workflow_graph(family))
    assert dot.count("subgraph") == 3
    assert dot.count("->") == workflow_graph(family).number_of_edges()
    if (graphviz := shutil.which("dot")) is not None:
        subprocess.run([graphviz, "-Tsvg"], input=dot, text=True, check=True, capture_output=True)
    assert 'quick \\"one\\" \\\\ two' in dot


def test_json_can_be_read_back(family: list[Program], tmp_path: Path) -> None:
    graph = workflow_graph(family)
    write_graph(tmp_path / "run.json", graph)
    document = json.loads((tmp_path / "run.json").read_text())
    again = nx.node_link_graph(document, edges="edges")
    assert nx.utils.graphs_equal(graph, again)
    assert document["format"] == "agentrt.workflow.v1"
    assert document["critical_path"] == critical_path(graph)
    assert document["waits"][0]["child"] == "slow"


def test_the_page_shows_every_program_and_escapes_their_names(
    family: list[Program], tmp_path: Path
) -> None:
    family[1].agent = "<script>"
    write_graph(tmp_path / "run.html", workflow_graph(family))
    page = (tmp_path / "run.html").read_text()
    assert "A run of 3 programs, 12.0 s" in page
    assert "<script>" not in page and "&lt;script&gt;#1" in page
    assert page.count("<rect") >= 3 + 6


def test_another_ending_is_refused(family: list[Program], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"run\.png: expected a name that ends in one of \.dot"):
        write_graph(tmp_path / "run.png", workflow_graph(family))
    assert not list(tmp_path.iterdir())


@agent
async def child(ctx: Context, word: str) -> str:
    """You repeat."""
    return await ctx.loop(word)


@agent
async def boss(ctx: Context) -> str:
    """You lead."""
    await ctx.say("Plan.")
    await ctx.gather(ctx.spawn(child, "a"), ctx.spawn(child, "b"))
    return await ctx.say("Sum up.")


def test_the_graph_of_a_real_run() -> None:
    async def inside(url: str) -> list[Program]:
        async with connect(url) as runtime:
            await runtime.run(boss)
            return runtime.programs

    scripts = [[says("plan"), says("sum")], [says("x")], [says("y", delay_s=0.2)]]
    with ScriptedEngine(scripts) as engine:
        graph = workflow_graph(anyio.run(inside, engine.url))
    # Whose request comes first, and so waits longer, is chance.
    labels = [graph.nodes[node]["label"] for node in critical_path(graph)]
    assert labels[1] == "turn 1" and labels[-2] == "turn 2"
    assert {graph.nodes[node]["agent"] for node in critical_path(graph)} == {"boss", "child"}
    assert len(graph.graph["programs"]) == 3


def test_the_command_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTRT_STATE_DIR", str(tmp_path / "state"))
    Path("agents.py").write_text(
        "from agentrt import Context, agent\n\n\n@agent\nasync def poet(ctx: Context) -> str:\n"
        '    """You write."""\n    return await ctx.say("Write.")\n'
    )
    with ScriptedEngine([says("tea")]) as engine:
        assert agentrt(["run", "agents.py", "--url", engine.url, "--graph", "run.html"]) == 0
    assert "poet#1" in Path("run.html").read_text()
    assert agentrt(["run", "agents.py", "--url", "http://127.0.0.1:9", "--graph", "run.txt"]) == 1
