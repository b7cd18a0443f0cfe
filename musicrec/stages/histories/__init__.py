"""Listening histories: read them as players and services export them, match them with the catalog, add them up."""
