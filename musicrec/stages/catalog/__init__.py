"""List the songs of a collection: layouts, tags, content hashes, and a synthetic catalog."""
