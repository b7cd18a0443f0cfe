"""Ray job: python jobs/evaluate.py OUT [options of `musicrec evaluate`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
