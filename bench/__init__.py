"""Measurements: each workload beside its floor, in interleaved rounds of one run."""
