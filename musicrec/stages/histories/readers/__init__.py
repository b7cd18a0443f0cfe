"""Readers of listening histories: each turns one kind of file into blocks of listens, without looking at a catalog."""
