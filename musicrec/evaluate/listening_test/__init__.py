"""Statistics of a blind listening test: answers in, rates, tests, power and one sentence out.

An answer is a row: who answered, which song, the conditions under which the song was chosen, and what was said. A song
may stand under several conditions: one matched on genre is also one of the set. Differences are in points of 100, of
the share of liked songs as well as of the rating.
"""
