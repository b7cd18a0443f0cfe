"""A blind listening test: a static site for the participants, a key for who runs it, and the score of their answers."""
