"""Ray job: python jobs/catalog.py OUT [options of `musicrec catalog`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["catalog", *sys.argv[1:]])
