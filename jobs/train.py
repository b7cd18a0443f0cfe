"""Ray job: python jobs/train.py OUT [options of `musicrec train`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
