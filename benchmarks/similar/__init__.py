"""All-pairs top-N beside other libraries, up to a million songs, and nightly refreshes."""
