"""Compare all songs and publish the lists of the most similar ones."""
