"""How well recommendations foretell what listeners come to like: splits, figures, intervals and tests."""
