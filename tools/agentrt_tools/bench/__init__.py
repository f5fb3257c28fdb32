"""What the runners of benchmarks have in common: packages, results, figures, the command."""
