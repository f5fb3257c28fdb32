"""What sharing KV across LoRA adapters does to replies, measured on a live engine."""
