"""The tables of one OUT: versions, the pointer to the published one, the lock, lineage, outcomes."""
