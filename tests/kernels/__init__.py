"""Attention kernels against float64."""
