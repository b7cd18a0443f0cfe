"""Ray: connect to a cluster, run tasks, end at a deadline or when one hangs, and count for Prometheus."""
