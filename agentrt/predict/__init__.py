"""How well the lengths of pauses are predicted, on traces."""
