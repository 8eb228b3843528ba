"""Tests of the benchmark, with simulated records in common."""
