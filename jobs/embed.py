"""Ray job: python jobs/embed.py OUT [options of `musicrec embed`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["embed", *sys.argv[1:]])
