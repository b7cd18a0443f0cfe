"""The whole chain: its time, nightly runs, a catalog of FMA's size, killed processes."""
