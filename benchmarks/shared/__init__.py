"""What the benchmarks share: data, timers, printed tables, synthetic vectors and lists."""
