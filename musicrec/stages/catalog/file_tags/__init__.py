"""What audio files say of themselves: title, artists, album, genres and identifiers, whatever the format.

Each format has a reader, which returns names and texts as they stand in the file. ``fields`` says what the names mean,
``columns`` makes the columns of ``tracks`` of them.
"""
