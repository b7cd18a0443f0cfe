"""Stands in front of the real TensorFlow in a `--fast` run, so that no test imports it unmarked."""

raise RuntimeError("this test starts TensorFlow; mark it engine")
