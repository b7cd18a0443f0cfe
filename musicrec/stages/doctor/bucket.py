"""Check S3: the server answers, accepts the key, and allows what musicrec does in OUT."""

import os
import uuid
from typing import Any

from musicrec.errors import ConfigError
from musicrec.files.paths import AnyPath, read_bytes, remove, to_path, write_atomic
from musicrec.files.s3_errors import QUICK, REFUSED, ask, explain_s3_errors
from musicrec.stages.doctor.check import Absent

SET_UP_BY = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


def access(out: AnyPath) -> str:
    """List OUT, write an object there, read it and delete it."""
    with explain_s3_errors(out):
        ask(out)
        note = out / f".musicrec-doctor-{uuid.uuid4().hex}"
        write_atomic(note, b"musicrec")
        read_bytes(note)
        remove(note)
    return f"{out} can be listed, written, read and deleted"


def key() -> str:
    """List all buckets; a key without permission to list them passes too."""
    if not any(os.environ.get(name) for name in SET_UP_BY):
        raise Absent("not set up: no AWS_… variable names a key or a server, and OUT is not on s3://")
    any_bucket: Any = to_path("s3://some-bucket")
    try:
        with explain_s3_errors(any_bucket):
            quick = type(any_bucket.fs)(**{**any_bucket.storage_options, "config_kwargs": QUICK})
            quick.retries = 1
            n_buckets = len(quick.call_s3("list_buckets").get("Buckets", []))
    except ConfigError as e:
        complaint = str(e).removeprefix(f"{any_bucket}: ")
        if complaint != REFUSED:
            raise ConfigError(complaint) from e
        return "the server answers, but this key may not list buckets, which is fine; to test a bucket, give OUT"
    return f"the server answers and lists {n_buckets} buckets; to test one, give OUT"
