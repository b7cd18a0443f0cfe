"""Ray job: python jobs/extract.py OUT [options of `musicrec extract`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["extract", *sys.argv[1:]])
