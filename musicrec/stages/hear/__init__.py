"""Vectors by models of others: decode each song, let the model hear it, publish the space of its vectors."""
