"""Ray job: python jobs/duplicates.py OUT [options of `musicrec duplicates`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["duplicates", *sys.argv[1:]])
