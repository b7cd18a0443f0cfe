"""Find the files that hold one recording: fingerprints, matches, groups."""
