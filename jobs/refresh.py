"""Ray job: python jobs/refresh.py OUT [options of `musicrec refresh`]."""

import sys

from musicrec.cli import main

if __name__ == "__main__":
    main(["refresh", *sys.argv[1:]])
