"""Places of songs on a map: a layout of all from their lists, and places of new songs beside old ones."""
