"""Attention kernels, each beside its float64 reference. They import torch and nothing of SGLang."""
