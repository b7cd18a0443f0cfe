"""Make one check, by its name, and print its result as JSON: for those that are made in a process of their own."""

import json
import sys

from musicrec.stages.doctor import checks

print(json.dumps(next(check for check in checks() if check.name == sys.argv[1]).run_here()))
