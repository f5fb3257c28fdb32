"""LoRA adapters in SGLang: activated ones, and KV that agents with different adapters share."""
