"""Ray job: python jobs/report.py OUT [options of `musicrec report`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
