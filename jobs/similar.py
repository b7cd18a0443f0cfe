"""Ray job: python jobs/similar.py OUT [options of `musicrec similar`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["similar", *sys.argv[1:]])
