"""The whole chain: its time, nights, a catalog of FMA's size, killed processes."""
