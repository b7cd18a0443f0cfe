"""Ray job: python jobs/recommend.py OUT [options of `musicrec recommend`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["recommend", *sys.argv[1:]])
