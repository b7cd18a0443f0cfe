"""Ray job: python jobs/map.py OUT [options of `musicrec map`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["map", *sys.argv[1:]])
