"""The published table: write it, look songs up in it, export it, recommend from it, see how old it is."""
