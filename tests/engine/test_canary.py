"""Every private name of SGLang that the plug-in touches is still there, in the form it expects.

When SGLang is raised to another version, this is what fails first and says where.
"""

from __future__ import annotations

import pytest

from agentrt_engine.sglang.flag import EngineFlag
from tests.support.sglang_probe import Report, probe

_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
_BATCH = "sglang.srt.managers.schedule_batch.ScheduleBatch"
_ADDER = "sglang.srt.managers.schedule_policy.PrefillAdder"
_CACHE = "sglang.srt.mem_cache.unified_radix_cache.UnifiedRadixCache"
_TREE = "sglang.srt.mem_cache.unified_cache.unified_tree_core_interface.UnifiedTreeCoreInterface"
_MANAGER = "sglang.srt.managers.tokenizer_manager.TokenizerManager"
_LORA = "sglang.srt.lora.lora_manager.LoRAManager"
_QKV = "sglang.srt.lora.layers.QKVParallelLinearWithLoRA"

#: The targets of our hooks, and how their parameters begin.
HOOKED = {
    f"{_SCHEDULER}.get_init_info": ["self"],
    f"{_SCHEDULER}.init_request_dispatcher": ["self"],
    f"{_SCHEDULER}._poll_timeout_aborts": ["self"],
    f"{_SCHEDULER}.process_input_requests": ["self", "recv_reqs"],
    f"{_SCHEDULER}._create_generation_req": ["self", "recv_req"],
    f"{_SCHEDULER}._add_request_to_queue": ["self", "req"],
    f"{_SCHEDULER}._release_aborted_request": ["self", "req"],
    f"{_SCHEDULER}.get_new_batch_prefill": ["self", "running_batch"],
    f"{_SCHEDULER}.get_prefill_adder_class": ["self"],
    f"{_SCHEDULER}.process_batch_result": ["self", "batch", "result"],
    "sglang.srt.managers.schedule_policy.SchedulePolicy.calc_priority": ["self", "waiting_queue"],
    f"{_BATCH}._get_decode_retraction_order": ["reqs"],
    f"{_MANAGER}._create_tokenized_object": ["self", "obj", "input_text", "input_ids"],
    f"{_MANAGER}.sigterm_watchdog": ["self"],
    f"{_MANAGER}.unload_lora_adapter": ["self", "obj"],
    f"{_SCHEDULER}.can_schedule_lora_req": ["self", "req", "running_loras"],
    f"{_LORA}.init_state": ["self"],
    f"{_LORA}.unload_lora_adapter": ["self", "lora_ref"],
    f"{_LORA}.validate_new_adapter": ["self", "lora_config", "lora_ref"],
    f"{_QKV}.apply_lora": ["self", "base_output", "x"],
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
_TRITON = "sglang.srt.layers.attention.triton_backend.TritonAttnBackend"
_FORWARD = ["self", "q", "k", "v", "layer", "forward_batch"]
_PREPARE = ["self", "forward_batch", "weight_indices", "lora_ranks", "scalings", "use_cuda_graph"]

#: What we call or override, and how its parameters begin.
CALLED = {
    f"{_ADDER}.add_one_req": ["self", "req", "has_chunked_req", "truncation_align_size"],
    f"{_ADDER}.add_chunked_req": ["self", "req"],
    f"{_ADDER}.budget_state": ["self"],
    f"{_ADDER}.ceil_paged_tokens": ["self", "tokens"],
    f"{_ADDER}._commit_prefill_admission": ["self", "req", "admission", "mamba_gap_reserve"],
    f"{_ADDER}._lock_node": ["self", "last_node"],
    f"{_CACHE}.checkpoint_into_tree": ["self", "req", "up_to"],
    f"{_CACHE}.on_release": ["self", "req", "checkpointed"],
    f"{_CACHE}.claim_kv_row": ["self", "req"],
    f"{_BATCH}.is_empty": ["self"],
    f"{_CACHE}.evict_for_alloc": ["self", "params"],
    f"{_CACHE}.reset": ["self"],
    f"{_CACHE}.sanity_check": ["self"],
    f"{_CACHE}.evictable_size": ["self"],
    f"{_CACHE}.protected_size": ["self"],
    f"{_CACHE}.path_device_indices": ["self", "node"],
    f"{_CACHE}._apply_eviction_result": ["self", "result"],
    f"{_CACHE}.lock": ["self", "node_id"],
    f"{_CACHE}.unlock": ["self", "lock"],
    f"{_CACHE}.match_prefix": ["self", "params"],
    f"{_CACHE}.insert": ["self", "params"],
    f"{_CACHE}.touch_prefix": ["self", "key"],
    f"{_TORCH_NATIVE}.forward_extend": [*_FORWARD, "save_kv_cache"],
    f"{_TORCH_NATIVE}.forward_decode": [*_FORWARD, "save_kv_cache"],
    f"{_TRITON}.forward_extend": [*_FORWARD, "save_kv_cache"],
    f"{_TRITON}.forward_decode": [*_FORWARD, "save_kv_cache"],
    "sglang.srt.lora.backend.torch_backend.TorchNativeLoRABackend.prepare_lora_batch": _PREPARE,
    "sglang.srt.lora.backend.triton_backend.TritonLoRABackend.prepare_lora_batch": _PREPARE,
    "sglang.srt.lora.mem_pool.LoRAMemoryPool.get_buffer_id": ["self", "lora_uid"],
    "sglang.srt.mem_cache.memory_pool.MHATokenToKVPool.set_kv_buffer": [
        "self",
        "layer",
        "loc_info",
        "cache_k",
        "cache_v",
    ],
    "sglang.srt.mem_cache.memory_pool.KVWriteLoc": [],
    f"{_TREE}.collect_path_info": ["self", "end_node_ids"],
    f"{_TREE}.evict_device_leaf": ["self", "node_id", "is_write_back"],
    "sglang.srt.managers.schedule_batch.Req._compute_max_prefix_len": ["self", "input_len"],
    "sglang.srt.mem_cache.memory_pool.ReqToTokenPool.write": ["self", "indices", "values"],
    "sglang.srt.mem_cache.registry.create_unified_radix_cache": ["ctx", "cache_class"],
    "sglang.srt.mem_cache.registry.register_radix_cache_backend": ["name", "factory"],
    "sglang.srt.mem_cache.radix_cache.RadixKey": [],
    "sglang.srt.mem_cache.common.match_kv_cache": ["req", "tree_cache"],
    "sglang.srt.managers.io_struct.hook_custom_types": ["new_types"],
    "sglang.srt.managers.utils.is_health_check_generate_req": ["recv_req"],
    f"{_MANAGER}.auto_create_handle_loop": ["self"],
    f"{_MANAGER}._async_dispatch_to_scheduler": ["self", "obj"],
    "sglang.srt.entrypoints.http_server.app.build_middleware_stack": [],
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
    "sglang.srt.layers.quantization.unquant.UnquantizedLinearMethod.apply": [
        "self",
        "layer",
        "x",
        "bias",
    ],
    "sglang.srt.layers.logits_processor.LogitsProcessor._compute_lm_head": [
        "self",
        "hidden_states",
        "lm_head",
        "embedding_bias",
    ],
    "sglang.srt.models.llama.LlamaModel.forward": [
        "self",
        "input_ids",
        "positions",
        "forward_batch",
        "input_embeds",
        "pp_proxy_tensors",
    ],
    "sglang.srt.model_executor.forward_context.get_attn_backend": [],
    "sglang.srt.runtime_context.get_parallel": [],
    f"{_TORCH_NATIVE}._run_sdpa_forward_extend": _ATTENTION,
    f"{_TORCH_NATIVE}._run_sdpa_forward_decode": _ATTENTION,
}

#: Classes, and the attributes that we read.
READ = {
    _SCHEDULER: [
        "max_total_num_tokens",
        "max_running_requests",
        "enable_priority_preemption",
        "waiting_queue",
        "chunked_req",
        "grammar_manager",
        "tree_cache",
        "_request_dispatcher",
    ],
    "sglang.srt.managers.schedule_batch.Req": [
        "rid",
        "origin_input_ids",
        "output_ids",
        "full_untruncated_fill_ids",
        "sampling_params",
        "extra_key",
        "lora_id",
        "cache_salt",
        "kv",
        "lock",
        "last_node",
        "prefix_len",
        "seqlen",
        "finished_reason",
        "to_finish",
        "num_matched_prefix_tokens",
        "skip_radix_cache_insert",
        "session",
        "input_embeds",
        "positional_embed_overrides",
    ],
    "sglang.srt.managers.schedule_batch.ReqKvInfo": [
        "req_pool_idx",
        "cache_protected_len",
        "cache_inserted_len",
        "kv_allocated_len",
        "kv_committed_len",
    ],
    "sglang.srt.mem_cache.unified_cache.unified_tree_core_interface.TreePathNodeInfo": [
        "node_id",
        "path_start",
        "path_end",
        "num_children",
    ],
    "sglang.srt.mem_cache.prefill_budget.PrefillBudget": ["total_offset"],
    _BATCH: ["reqs", "prefix_lens", "extend_lens", "forward_mode", "batch_is_full"],
    _ADDER: [
        "can_run_list",
        "rem_total_tokens",
        "rem_chunk_tokens",
        "new_chunked_req",
        "chunked_req_limit",
        "memory_budget",
        "dllm_config",
        "per_req_token_overhead",
        "tree_cache",
    ],
    _CACHE: [
        "token_to_kv_pool_allocator",
        "req_to_token_pool",
        "tree_core",
        "is_write_back",
        "page_size",
    ],
    "sglang.srt.mem_cache.registry.TreeCacheBuildContext": [
        "params",
        "server_args",
        "disable_radix_cache",
        "is_hybrid_swa",
        "is_hybrid_ssm",
        "enable_hierarchical_cache",
    ],
    "sglang.srt.managers.scheduler.NextBatchPlan": ["batch_to_run", "running_batch"],
    "sglang.srt.managers.io_struct.TokenizedGenerateReqInput": ["sampling_params"],
    "sglang.srt.sampling.sampling_params.SamplingParams": ["custom_params"],
    _MANAGER: ["served_model_name", "_result_dispatcher", "gracefully_exit", "lora_ref_cache"],
    _LORA: [
        "base_hf_config",
        "configs",
        "device",
        "lora_backend",
        "lora_modules",
        "loras",
        "max_lora_rank",
        "memory_pool",
    ],
    _QKV: ["A_buffer_qkv", "B_buffer_qkv", "base_layer"],
    "sglang.srt.lora.lora.LoRAAdapter": ["config", "scaling"],
    "sglang.srt.lora.lora_config.LoRAConfig": ["hf_config", "r"],
    "sglang.srt.layers.linear.QKVParallelLinear": [
        "kv_proj_shard_size",
        "num_kv_heads",
        "q_proj_shard_size",
    ],
    "sglang.srt.server_args.ServerArgs": [
        "device",
        "tokenizer_worker_num",
        "api_key",
        "admin_api_key",
        "dp_size",
        "tp_size",
        "pp_size",
        "disaggregation_mode",
        "speculative_algorithm",
        "enable_deterministic_inference",
        "dcp_size",
    ],
    "sglang.srt.constrained.xgrammar_backend.XGrammarGrammarBackend": ["any_whitespace"],
    "sglang.srt.model_executor.forward_batch_info.ForwardBatch": [
        "seq_lens",
        "batch_size",
        "extend_prefix_lens_cpu",
        "extend_seq_lens",
        "extend_seq_lens_cpu",
        "lora_ids",
        "out_cache_loc",
        "positions",
        "req_pool_indices",
        "seq_lens_cpu",
        "spec_info",
        "forward_mode",
    ],
    "sglang.srt.mem_cache.memory_pool.ReqToTokenPool": ["req_to_token"],
    "sglang.srt.mem_cache.memory_pool.MHATokenToKVPool": [
        "dtype",
        "layer_transfer_counter",
        "store_dtype",
    ],
    "sglang.srt.models.llama.LlamaModel": ["layers", "layers_to_capture", "norm", "pp_group"],
    "sglang.srt.models.llama.LlamaDecoderLayer": [
        "input_layernorm",
        "mlp",
        "post_attention_layernorm",
        "self_attn",
    ],
    "sglang.srt.models.llama.LlamaAttention": [
        "attn",
        "head_dim",
        "num_heads",
        "num_kv_heads",
        "o_proj",
        "qkv_proj",
        "rotary_emb",
        "scaling",
    ],
    "sglang.srt.models.llama.LlamaMLP": ["act_fn", "down_proj", "gate_up_proj"],
    "sglang.srt.layers.layernorm.RMSNorm": [
        "cast_x_before_out_mul",
        "fp32_residual",
        "override_orig_dtype",
        "variance_epsilon",
        "variance_size_override",
    ],
    "sglang.srt.layers.rotary_embedding.base.RotaryEmbedding": [
        "head_size",
        "is_neox_style",
        "rotary_dim",
    ],
    "sglang.srt.configs.model_config.ModelConfig": [
        "num_attention_heads",
        "get_total_num_kv_heads",
    ],
    "sglang.srt.plugins.hook_registry.HookType": ["AFTER", "AROUND", "BEFORE"],
    _TORCH_NATIVE: ["req_to_token_pool"],
}

#: Modules and other things of which the name alone counts.
PRESENT = [
    "sglang.srt.managers.schedule_batch.FINISH_ABORT",
    "sglang.srt.managers.schedule_policy.AddReqResult.NO_TOKEN",
    "sglang.srt.managers.schedule_policy.CLIP_MAX_NEW_TOKENS",
    "sglang.srt.managers.schedule_policy.WAITING_QUEUE_PREFIX_MATCH_MAX",
    "sglang.srt.mem_cache.base_prefix_cache.EvictParams",
    "sglang.srt.mem_cache.base_prefix_cache.InsertParams",
    "sglang.srt.mem_cache.base_prefix_cache.MatchPrefixParams",
    "sglang.srt.runtime_context.get_schedule",
    "sglang.utils.TypeBasedDispatcher",
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
