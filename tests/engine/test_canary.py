"""Every private name of SGLang that the plug-in touches is still there, in the form it expects.

When SGLang is raised to another version, this is what fails first and says where.
"""

from __future__ import annotations

import pytest

from agentrt_engine.sglang.flag import EngineFlag
from tests.support.sglang_probe import Report, probe

#: The targets of our hooks, and how their parameters begin.
HOOKED = {
    "sglang.srt.managers.scheduler.Scheduler.get_init_info": ["self"],
    "sglang.srt.managers.scheduler.Scheduler._create_generation_req": ["self", "recv_req"],
    "sglang.srt.managers.schedule_policy.SchedulePolicy.calc_priority": ["self", "waiting_queue"],
    "sglang.srt.constrained.xgrammar_backend.XGrammarGrammarBackend.dispatch_json": [
        "self",
        "key_string",
    ],
    "sglang.srt.entrypoints.http_server._setup_and_run_http_server": [
        "server_args",
        "tokenizer_manager",
        "template_manager",
        "port_args",
        "scheduler_infos",
    ],
}

_TORCH_NATIVE = "sglang.srt.layers.attention.torch_native_backend.TorchNativeAttnBackend"
_ATTENTION = ["self", "query", "output", "k_cache", "v_cache"]

#: What we call or override, and how its parameters begin.
CALLED = {
    "sglang.launch_server.run_server": ["server_args"],
    "sglang.srt.plugins.load_plugins": [],
    "sglang.srt.plugins.hook_registry.HookRegistry.register": ["target", "hook", "hook_type"],
    "sglang.srt.server_args.prepare_server_args": ["argv"],
    "sglang.srt.utils.kill_process_tree": ["parent_pid", "include_parent"],
    "sglang.srt.arg_groups.choices.add_attention_backend_choices": ["iterable"],
    "sglang.srt.layers.attention.attention_registry.register_attention_backend": ["name"],
    "sglang.srt.constrained.json_schema_validation.validate_xgrammar_json_schema": ["schema"],
    "sglang.srt.constrained.xgrammar_backend.XGrammarGrammarBackend.dispatch_ebnf": [
        "self",
        "key_string",
    ],
    "sglang.srt.entrypoints.http_server.app.add_api_route": ["path", "endpoint"],
    "sglang._platform_stubs.install_platform_stubs": [],
    "sglang._platform_stubs._patch_non_blocking": [],
    f"{_TORCH_NATIVE}.init_forward_metadata": ["self", "forward_batch"],
    f"{_TORCH_NATIVE}._run_sdpa_forward_extend": _ATTENTION,
    f"{_TORCH_NATIVE}._run_sdpa_forward_decode": _ATTENTION,
}

#: Classes, and the attributes that we read.
READ = {
    "sglang.srt.managers.scheduler.Scheduler": ["max_total_num_tokens", "max_running_requests"],
    "sglang.srt.managers.schedule_batch.Req": ["rid", "retracted_stain", "time_stats"],
    "sglang.srt.observability.req_time_stats.SchedulerReqTimeStats": ["wait_queue_entry_time"],
    "sglang.srt.managers.io_struct.TokenizedGenerateReqInput": ["sampling_params"],
    "sglang.srt.sampling.sampling_params.SamplingParams": ["custom_params"],
    "sglang.srt.managers.tokenizer_manager.TokenizerManager": ["served_model_name"],
    "sglang.srt.server_args.ServerArgs": ["device"],
    "sglang.srt.constrained.xgrammar_backend.XGrammarGrammarBackend": ["any_whitespace"],
    "sglang.srt.model_executor.forward_batch_info.ForwardBatch": [
        "seq_lens",
        "extend_seq_lens",
        "req_pool_indices",
        "forward_mode",
    ],
    "sglang.srt.mem_cache.memory_pool.ReqToTokenPool": ["req_to_token"],
    "sglang.srt.configs.model_config.ModelConfig": [
        "num_attention_heads",
        "get_total_num_kv_heads",
    ],
    "sglang.srt.plugins.hook_registry.HookType": ["AFTER", "AROUND"],
    _TORCH_NATIVE: ["req_to_token_pool"],
}

#: Modules and other things of which the name alone counts.
PRESENT = [
    "sglang._platform_stubs.sys",
    "sglang._platform_stubs.platform",
    "sglang.srt.constrained.json_schema_validation.UnsupportedJSONSchemaFeature",
    "sglang.srt.entrypoints.engine.logger",
]


@pytest.fixture(scope="module")
def report() -> Report:
    return probe(
        flag=EngineFlag(policy="lru", instance="probe").environment(),
        members=[*HOOKED, *CALLED, *READ, *PRESENT],
    )


@pytest.mark.parametrize("path", [*HOOKED, *CALLED, *READ, *PRESENT])
def test_the_name_exists(report: Report, path: str) -> None:
    assert path in report["members"]


@pytest.mark.parametrize(("path", "parameters"), (HOOKED | CALLED).items())
def test_its_parameters_begin_as_before(report: Report, path: str, parameters: list[str]) -> None:
    assert report["members"][path]["parameters"][: len(parameters)] == parameters


@pytest.mark.parametrize("method", ["_run_sdpa_forward_extend", "_run_sdpa_forward_decode"])
def test_the_options_of_attention_are_named_as_before(report: Report, method: str) -> None:
    assert set(report["members"][f"{_TORCH_NATIVE}.{method}"]["parameters"]) >= {
        "scaling",
        "causal",
        "is_cross_attn",
        "sliding_window_size",
    }


@pytest.mark.parametrize(("path", "attributes"), READ.items())
def test_the_class_has_the_attributes(report: Report, path: str, attributes: list[str]) -> None:
    assert set(attributes) - set(report["members"][path]["attributes"]) == set()


def test_with_the_flag_exactly_these_targets_are_hooked(report: Report) -> None:
    assert report["registered"] == report["applied"] == sorted(HOOKED)
    assert report["active"] is True
