"""The plug-in: nothing without its flag, and a compatibility layer that knows its place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from agentrt_engine.sglang.flag import FLAG_VARIABLE, EngineFlag, read_flag
from agentrt_engine.sglang.ports import free_port
from tests.support.processes import Command, left_after
from tests.support.sglang_probe import probe


def test_the_flag_travels_in_one_variable() -> None:
    flag = EngineFlag(policy="lru", instance="x")
    assert list(flag.environment()) == [FLAG_VARIABLE]
    assert read_flag(flag.environment()) == flag


@pytest.mark.parametrize("environment", [{}, {FLAG_VARIABLE: ""}])
def test_no_flag(environment: dict[str, str]) -> None:
    assert read_flag(environment) is None


@pytest.mark.parametrize("text", ["1", "{}", '{"policy": 1, "instance": "x"}', "lru"])
def test_anything_else_is_no_flag_but_a_mistake(text: str) -> None:
    with pytest.raises(ValueError, match=r"AGENTRT_ENGINE=.* is not an engine flag"):
        read_flag({FLAG_VARIABLE: text})


def test_without_the_flag_only_the_name_of_the_attention_backend_is_registered() -> None:
    report = probe(flag={})
    assert report["registered"] == report["applied"] == []
    assert report["active"] is False
    assert "agentrt" in report["attention"]


def test_with_a_flag_that_names_no_policy_the_plugin_is_not_active() -> None:
    report = probe(flag=EngineFlag(policy="no-such", instance="x").environment())
    assert report["active"] is False


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Iterator[str]:
    """URL of SGLang in our environment, started without our flag."""
    folder = tmp_path_factory.mktemp("stock")
    port = free_port()
    arguments = {
        "model-path": model_folder,
        "device": "cpu",
        "attention-backend": "torch_native",
        "sampling-backend": "pytorch",
        "mem-fraction-static": "0.5",
        "max-total-tokens": "4096",
        "port": port,
    }
    command = [sys.executable, "-P", "-m", "agentrt_engine.sglang.launch", "--disable-cuda-graph"]
    command += [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    with Command(*command, folder=folder, HF_HUB_OFFLINE="1") as engine:
        engine.until("The server is fired up and ready to roll!")
        yield f"http://127.0.0.1:{port}"
    assert left_after(10, folder) == {}


def test_stock_sglang_works_as_without_us(stock: str) -> None:
    assert httpx2.get(f"{stock}/agentrt/info").status_code == 404
    answer = httpx2.post(
        f"{stock}/generate",
        json={"text": "One two three", "sampling_params": {"max_new_tokens": 2}},
        timeout=60,
    )
    assert answer.json()["text"]


def in_a_new_process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, env=os.environ
    )


def test_the_compatibility_layer_refuses_where_there_is_cuda() -> None:
    done = in_a_new_process(
        "import torch\n"
        "from agentrt_engine.sglang.cpu import compatibility\n"
        "torch.cuda.is_available = lambda: True\n"
        "compatibility.install()\n"
    )
    assert done.returncode == 1
    assert "RuntimeError: the CPU compatibility layer was asked for on a machine with CUDA" in (
        done.stderr
    )


def test_the_compatibility_layer_refuses_after_sglang() -> None:
    done = in_a_new_process(
        "import sys, torch\n"
        "from agentrt_engine.sglang.cpu import compatibility\n"
        "torch.cuda.is_available = lambda: False\n"
        "sys.modules['sglang'] = sys\n"
        "compatibility.install()\n"
    )
    assert done.returncode == 1
    assert "must be installed before SGLang is imported" in done.stderr


def test_with_cuda_the_main_module_installs_no_compatibility_layer() -> None:
    done = in_a_new_process(
        "import sys, torch\n"
        "torch.cuda.is_available = lambda: True\n"
        "import agentrt_engine.sglang.launch\n"
        "assert 'agentrt_engine.sglang.cpu.compatibility' not in sys.modules\n"
    )
    assert done.returncode == 0, done.stderr
