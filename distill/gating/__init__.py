"""The gate: what is locked before training, what a candidate is judged by on those rows, and what follows."""
