"""What an engine may be started with, and the arguments of SGLang that follow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentrt_engine.cache import learned_dir
from agentrt_engine.device import Device
from agentrt_engine.errors import SettingError, UnknownPolicy
from agentrt_engine.lora_sharing import LoraSharing
from agentrt_engine.sglang.flag import EngineFlag
from agentrt_engine.sglang.lora.adapter import read_adapters
from agentrt_engine.sglang.options import DType, EngineOptions, engine_options

OPTIONS = EngineOptions(
    Path("/models/tiny"), Device.CPU, "lru", port=30_000, api_keys=("s3cret", "other")
)


def pairs(arguments: list[str]) -> dict[str, str]:
    """Option → value; flags are their own value."""
    values = [*arguments[1:], "--end"]
    return {
        name: name if value.startswith("--") else value
        for name, value in zip(arguments, values, strict=True)
        if name.startswith("--")
    }


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:30000"),
        ("localhost", "http://localhost:30000"),
        ("0.0.0.0", "http://127.0.0.1:30000"),
        ("::", "http://[::1]:30000"),
        ("::1", "http://[::1]:30000"),
        ("10.1.2.3", "http://10.1.2.3:30000"),
    ],
)
def test_the_url_is_one_that_a_client_here_can_reach(host: str, url: str) -> None:
    assert replace(OPTIONS, host=host).url == url


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org", ""])
def test_an_open_address_needs_a_key(host: str) -> None:
    with pytest.raises(SettingError, match=f"refusing to listen on {host} without a key"):
        replace(OPTIONS, host=host, api_keys=())


def test_an_empty_key_is_none() -> None:
    with pytest.raises(SettingError, match=r"refusing to listen on 0\.0\.0\.0 without a key"):
        replace(OPTIONS, host="0.0.0.0", api_keys=("",))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_loopback_needs_none(host: str) -> None:
    assert replace(OPTIONS, host=host, api_keys=()).api_key is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kv_tokens": 0}, "kv_tokens is 0: expected at least 1"),
        ({"max_running": -1}, "max_running is -1: expected at least 1"),
        ({"port": 0}, "port is 0: expected 1 to 65535"),
        ({"port": 65_536}, "port is 65536: expected 1 to 65535"),
        ({"lease_share": 1.5}, "lease_share is 1.5: expected 0 to 1"),
        ({"idle_s": 0.0}, "idle_s is 0.0: expected more than 0 seconds"),
        ({"api_keys": ("good", "not good")}, "API key 2 of 2: expected visible ASCII characters"),
    ],
)
def test_a_number_out_of_range_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        replace(OPTIONS, **change)


def test_no_key_is_an_argument_or_in_the_flag() -> None:
    shown = [*OPTIONS.sglang_arguments(), *OPTIONS.flag("x").environment().values()]
    assert not any(key in text for key in OPTIONS.api_keys for text in shown)


def test_the_plugin_is_told_what_it_cannot_ask_sglang() -> None:
    options = replace(OPTIONS, lease_share=0.5, idle_s=60.0, learned=Path("/tmp/learned.json"))
    assert options.flag("x") == EngineFlag(
        policy="lru",
        instance="x",
        keys=2,
        learned="/tmp/learned.json",
        lease_share=0.5,
        idle_s=60.0,
    )


@pytest.mark.parametrize("keys", [(), ("",), ("", "")])
def test_variables_that_are_not_set_are_no_keys(tmp_path: Path, keys: tuple[str, ...]) -> None:
    options = engine_options(port=1, model=str(tmp_path), device=Device.CPU, api_keys=keys)
    assert options.api_keys == ()


def test_what_is_learned_is_kept_per_model_and_policy(tmp_path: Path) -> None:
    model = tmp_path / "tiny"
    model.mkdir()
    options = engine_options(
        port=1, model=str(model), device=Device.CPU, policy="guard:price=0", learn=True
    )
    assert options.learned == learned_dir() / "tiny-guard.json"


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("no-such", "unknown policy 'no-such'"),
        ("oracle-work", "knows the future"),
    ],
)
def test_a_policy_that_no_engine_can_run_is_refused(tmp_path: Path, policy: str, says: str) -> None:
    with pytest.raises(UnknownPolicy, match=says):
        engine_options(port=1, model=str(tmp_path), device=Device.CPU, policy=policy)


def test_on_a_cpu_sglang_takes_our_attention() -> None:
    arguments = pairs(OPTIONS.sglang_arguments())
    assert arguments["--attention-backend"] == "agentrt"
    assert "--disable-cuda-graph" in arguments


@pytest.fixture
def adapters(tmp_path: Path) -> list[str]:
    """Two adapters of ranks 4 and 8, as they are given."""
    for name, rank in (("small", 4), ("large", 8)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_model.safetensors").touch()
        configuration = {"r": rank, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(configuration))
    return [f"{name}={tmp_path / name}" for name in ("small", "large")]


def lora_arguments(device: Device, **options: Any) -> str:
    chosen = replace(OPTIONS, device=device, **options)
    text = " ".join(chosen.sglang_arguments())
    return text[text.index("--enable-lora") :]


def test_adapters_that_an_engine_starts_with(adapters: list[str]) -> None:
    read = read_adapters(adapters, LoraSharing.BASE)
    assert lora_arguments(Device.CPU, adapters=read) == (
        f"--enable-lora --max-lora-rank 8 --lora-paths {' '.join(adapters)} "
        "--lora-backend torch_native"
    )
    assert "--max-lora-rank 16" in lora_arguments(Device.CPU, adapters=read, lora_rank=16)
    assert lora_arguments(Device.CUDA, lora_rank=16) == (
        "--enable-lora --max-lora-rank 16 --lora-target-modules all"
    )
    assert lora_arguments(Device.CUDA, lora_rank=16, lora_sharing=LoraSharing.BASE).endswith(
        "--lora-backend triton --attention-backend agentrt --disable-cuda-graph"
    )
    assert "--enable-lora" not in OPTIONS.sglang_arguments()
    assert replace(OPTIONS, adapters=read, lora_sharing=LoraSharing.BASE_LR).flag("x") == (
        msgspec.structs.replace(OPTIONS.flag("x"), lora_sharing=LoraSharing.BASE_LR)
    )


def test_options_of_adapters_that_do_not_fit_are_refused(adapters: list[str]) -> None:
    read = read_adapters(adapters, LoraSharing.OFF)
    with pytest.raises(SettingError, match="--lora-sharing base without adapters"):
        replace(OPTIONS, lora_sharing=LoraSharing.BASE)
    with pytest.raises(SettingError, match="lora_rank is 7: expected at least 8"):
        replace(OPTIONS, adapters=read, lora_rank=7)
    with pytest.raises(SettingError, match="lora_rank is 0: expected at least 1"):
        replace(OPTIONS, lora_rank=0)


def test_on_cuda_sglang_takes_its_own() -> None:
    arguments = pairs(replace(OPTIONS, device=Device.CUDA).sglang_arguments())
    assert arguments["--device"] == "cuda"
    absent = ("attention-backend", "sampling-backend", "mem-fraction-static", "disable-cuda-graph")
    assert not any(f"--{name}" in arguments for name in absent)


def test_what_was_chosen_reaches_sglang() -> None:
    options = replace(OPTIONS, kv_tokens=4_096, max_running=3, dtype=DType.FLOAT32)
    arguments = pairs(options.sglang_arguments())
    assert {name: arguments[f"--{name}"] for name in ("model-path", "port", "dtype")} == {
        "model-path": "/models/tiny",
        "port": "30000",
        "dtype": "float32",
    }
    assert arguments["--served-model-name"] == "tiny"
    assert arguments["--max-total-tokens"] == "4096"
    assert arguments["--max-running-requests"] == "3"


@pytest.mark.parametrize(
    ("device", "kv_tokens", "max_running"), [(Device.CPU, 32_768, 16), (Device.CUDA, None, None)]
)
def test_what_is_left_open_suits_the_device(
    tmp_path: Path, device: Device, kv_tokens: int | None, max_running: int | None
) -> None:
    options = engine_options(port=1, model=str(tmp_path), device=device)
    assert (options.kv_tokens, options.max_running) == (kv_tokens, max_running)
    assert options.policy == "guard"
    assert options.host == "127.0.0.1"
