"""Ray job: python jobs/tune.py OUT [options of `musicrec tune`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["tune", *sys.argv[1:]])
