"""The exact search: codes and bounds of vectors, screens, scored pairs, candidate lists, refresh."""
