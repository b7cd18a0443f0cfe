"""What `ray.init` calls first in a `--fast` run, so that no test starts Ray unmarked."""


def refuse(runtime_env):
    raise RuntimeError("this test starts Ray; mark it engine")
