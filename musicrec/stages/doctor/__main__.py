"""Run one check, given by its name, and print its result as JSON: for checks that run in their own process."""

import json
import sys

from musicrec.stages.doctor import checks

print(json.dumps(next(check for check in checks() if check.name == sys.argv[1]).run_here()))
