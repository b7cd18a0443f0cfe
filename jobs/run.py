"""Ray job: python jobs/run.py OUT [options of `musicrec run`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
