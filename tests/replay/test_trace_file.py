"""Opening, recognising, merging and writing traces."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.errors import SettingError, TraceError
from agentrt.replay.formats.blocks import BlockNumbers, BlockSizeSearch, common_blocks
from agentrt.replay.formats.catalog import FORMATS, TraceFormat, format_titles
from agentrt.replay.formats.observed import ObservedProgram, ObservedTurn
from agentrt.replay.formats.validation import check_program
from agentrt.replay.trace_file import Trace, load_trace, load_traces, write_trace
from agentrt_engine.wire.trace import PauseKind, ProgramRecord, ToolRecord
from tests.replay.trace_files import jsonl, program, turn

NESTED = [
    program(
        "parent",
        turn(100, 100, waits_for=("child",), tools=(ToolRecord("ls", 0.5), ToolRecord("?", None))),
        turn(200, 90, pause_s=None, pause_kind=PauseKind.USER),
        arrival_s=0.25,
    ),
    program("child", turn(32, 32, hash_ids=(0, 1)), parent_id="parent", block_tokens=16),
]


def a_trace(path: Path, *programs: ProgramRecord) -> Path:
    write_trace(path, Trace(path, TraceFormat.AGENTRT, {"model": "m"}, list(programs), []))
    return path


@pytest.mark.parametrize("name", ["trace.jsonl", "trace.jsonl.gz"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    trace = load_trace(a_trace(tmp_path / name, *NESTED))
    assert trace.programs == NESTED
    assert trace.metadata == {"model": "m"}
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_written_file_is_compressed_when_its_name_says_so(tmp_path: Path) -> None:
    path = a_trace(tmp_path / "trace.jsonl.gz", *NESTED)
    assert json.loads(gzip.decompress(path.read_bytes()).splitlines()[0]) == {
        "format": "agentrt.trace.v1",
        "model": "m",
    }


def test_writing_where_no_file_can_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="cannot write the trace"):
        a_trace(tmp_path / "file" / "trace.jsonl", *NESTED)


def test_an_unknown_format_lists_what_was_looked_for(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"colour": "red"})
    with pytest.raises(TraceError, match="it begins with colour") as error:
        load_trace(path)
    for info in FORMATS.values():
        assert info.title in str(error.value)
    assert "--format" in error.value.hint


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"hello\n", "it begins with no JSON object"),
        (b"[1, 2]\n", "it begins with no JSON object"),
        (b"\x28\xb5\x2f\xfd....", "compressed with zstd, which is not supported"),
        (gzip.compress(b'{"format": "agentrt.trace.v1"}\n' * 9)[:40], "is damaged"),
    ],
)
def test_a_file_that_holds_no_trace_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(TraceError, match="trace") as error:
        load_trace(path)
    assert says in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        load_trace(tmp_path / "gone.jsonl")
    with pytest.raises(TraceError, match="Is a directory"):
        load_trace(tmp_path)


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    path = a_trace(tmp_path / "trace.jsonl", *NESTED)
    path.write_bytes(path.read_bytes() + b'{"program_id": \n')
    with pytest.raises(TraceError, match="line 4: not JSON"):
        load_trace(path)


def test_a_forced_format_is_not_questioned(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", {"input_length": 9, "output_length": 1, "hash_ids": [0]})
    with pytest.raises(TraceError, match="line 1: input_prompt_length is missing"):
        load_trace(path, format=TraceFormat.TRIE)


def test_one_file_loads_as_by_itself(tmp_path: Path) -> None:
    path = a_trace(tmp_path / "a.jsonl", *NESTED)
    assert load_traces([path]) == load_trace(path)


def test_equal_ids_of_two_files_get_the_files_names(tmp_path: Path) -> None:
    first = a_trace(tmp_path / "mon.jsonl", *NESTED)
    second = a_trace(tmp_path / "tue.jsonl.gz", NESTED[0], NESTED[1], program("new", turn(5, 5)))
    merged = load_traces([first, second])
    assert [p.program_id for p in merged.programs] == [
        "mon:parent",
        "mon:child",
        "tue:parent",
        "tue:child",
        "new",
    ]
    assert merged.programs[3].parent_id == "tue:parent"
    assert merged.programs[2].turns[0].waits_for == ("tue:child",)
    assert merged.metadata == {"sources": ["mon.jsonl", "tue.jsonl.gz"]}


def test_files_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [a_trace(tmp_path / folder / "run.jsonl", program("p", turn(5, 5))) for folder in "ab"]
    assert [p.program_id for p in load_traces(paths).programs] == ["run-1:p", "run-2:p"]


def test_hash_ids_and_prefixes_of_two_files_mean_different_things(tmp_path: Path) -> None:
    def one(name: str) -> ProgramRecord:
        blocks = turn(32, 32, hash_ids=(0, 1))
        return program(name, blocks, block_tokens=16, prefix_id="system", prefix_tokens=16)

    paths = [a_trace(tmp_path / f"{name}.jsonl", one(name)) for name in "ab"]
    first, second = load_traces(paths).programs
    assert not set(first.turns[0].hash_ids) & set(second.turns[0].hash_ids)
    assert (first.prefix_id, second.prefix_id) == ("a:system", "b:system")


def test_every_format_has_a_line_for_people() -> None:
    titles = format_titles()
    assert len(titles) == len(TraceFormat) == 10
    assert "agentrt: agentrt.trace.v1" in titles
    assert "otlp: OTLP JSON, GenAI or OpenInference spans (experimental)" in titles


BLOCKS = st.lists(st.integers(0, 3), max_size=40)


@given(BLOCKS, BLOCKS)
def test_common_blocks_are_the_longest_common_beginning(
    first: list[int], second: list[int]
) -> None:
    naive = 0
    while naive < min(len(first), len(second)) and first[naive] == second[naive]:
        naive += 1
    assert common_blocks(tuple(first), tuple(second)) == naive


@given(st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.integers(), max_size=9)), max_size=9))
def test_block_numbers_are_equal_exactly_where_ids_and_scopes_are(
    prompts: list[tuple[str, list[int]]],
) -> None:
    blocks = BlockNumbers()
    numbered = [blocks.number(ids, scope=scope) for scope, ids in prompts]
    seen: dict[int, tuple[str, int]] = {}
    for (scope, ids), numbers in zip(prompts, numbered, strict=True):
        for block, number in zip(ids, numbers, strict=True):
            assert seen.setdefault(number, (scope, block)) == (scope, block)
    assert len(seen) == len({(scope, block) for scope, ids in prompts for block in ids})


@given(
    st.sampled_from([16, 64, 512]),
    st.lists(st.integers(1, 200_000), min_size=1, max_size=20),
    st.booleans(),
)
def test_the_block_size_found_fits_all_prompts(
    size: int, prompts: list[int], rounded_up: bool
) -> None:
    search = BlockSizeSearch()
    for tokens in prompts:
        search.see(tokens, -(-tokens // size) if rounded_up else tokens // size)
    found = search.value()
    assert found is not None
    for tokens in prompts:
        blocks = -(-tokens // size) if rounded_up else tokens // size
        assert (blocks - 1) * found < tokens < (blocks + 1) * found


@st.composite
def observed_programs(draw: st.DrawFn) -> ObservedProgram:
    block_tokens = draw(st.sampled_from([None, 1, 16]))
    observed = ObservedProgram("p", "a", block_tokens=block_tokens)
    times = draw(st.lists(st.floats(0, 1e6), min_size=1, max_size=8))
    for start in times:
        tokens = draw(st.integers(1, 200))
        seen = ObservedTurn(tokens, draw(st.integers(1, 50)), start, start + 1.0)
        seen.cached_tokens = draw(st.none() | st.integers(0, 300))
        if block_tokens is not None:
            count = tokens // block_tokens
            seen.hash_ids = tuple(draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)))
        observed.turns.append(seen)
    return observed


@given(observed_programs())
def test_whatever_a_format_tells_gives_a_valid_program(observed: ObservedProgram) -> None:
    record = observed.record(trace_start_s=0.0)
    check_program(record, "here")
    assert record.turns[0].new_tokens == record.turns[0].input_tokens
    assert record.turns[-1].pause_kind is PauseKind.FINAL
    assert msgspec.json.decode(record.encode(), type=ProgramRecord) == record
