"""What a run says while it works: log lines, progress, CPU time."""
