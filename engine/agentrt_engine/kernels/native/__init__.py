"""Kernels in C for decoding on CPUs: compiled on the machine, loaded where that worked."""
