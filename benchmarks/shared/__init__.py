"""Helpers of the benchmarks: data, timers, printed tables, synthetic vectors and lists."""
