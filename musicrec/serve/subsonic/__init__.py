"""A small OpenSubsonic server, so that music players search, hear and compare the songs of the published table."""
