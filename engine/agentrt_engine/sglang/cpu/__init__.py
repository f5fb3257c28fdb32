"""SGLang on a machine without CUDA: what its packaging leaves out."""
