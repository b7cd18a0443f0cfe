"""Find songs that are one recording, by their fingerprints: an index of codes, alignments, and groups."""
