"""OpenStack Swift with its S3 interface, all four servers in one process.

Run by the Python that :mod:`s3.server` set up, never by that of the tests, with FOLDER PORT PARENT REGION. Says the
port on standard output once it listens. Ends with its parent, however that ends.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

import eventlet
import eventlet.wsgi

eventlet.monkey_patch()

from swift.common import storage_policy, utils, wsgi  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.container.server import ContainerController  # noqa: E402

HOST = "127.0.0.1"
PARENT_DIED = 1  # PR_SET_PDEATHSIG of prctl(2)
PATIENCE_S = 120  # a busy machine is slow, not broken: one copy of everything, so a node given up is data lost

STORAGE = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}
mount_check = false
disable_fallocate = true
log_address = {folder}/no-syslog
conn_timeout = {patience}
node_timeout = {patience}
client_timeout = {patience}
container_update_timeout = {patience}
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

PROXY = """
[DEFAULT]
swift_dir = {folder}
log_address = {folder}/no-syslog
client_timeout = {patience}
[pipeline:main]
pipeline = catch_errors listing_formats s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = {patience}
node_timeout = {patience}
recoverable_node_timeout = {patience}
error_suppression_interval = 0
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_test_owner = owner-secret .admin
user_test_reader = reader-secret
[filter:slo]
use = egg:swift#slo
"""


def main() -> None:
    """Serve until the parent ends."""
    folder, port, parent, region = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    end_with(parent)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
    utils.set_swift_dir(str(folder))
    utils.validate_hash_conf()
    storage_policy.reload_storage_policies()
    list_at_once()
    os.fsync = lambda fd: None  # nothing here is to outlive a power cut
    for kind in ("account", "container", "object"):
        sock = listen(0)
        write_ring(folder, kind, sock.getsockname()[1])
        serve(folder, kind, sock, STORAGE)
    sock = listen(port)
    server = serve(folder, "proxy", sock, PROXY, region=region)
    print(sock.getsockname()[1], flush=True)
    server.wait()


def end_with(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` ends."""
    ctypes.CDLL(None).prctl(PARENT_DIED, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        sys.exit(1)


def list_at_once() -> None:
    """Have a listing wait for a busy database, where Swift would answer with an older one: S3 is consistent."""
    method = "_get_container_broker"
    open_database = getattr(ContainerController, method)

    def patient(self, *args, pending_timeout=None, stale_reads_ok=False, **options):
        return open_database(self, *args, **options)

    setattr(ContainerController, method, patient)


def listen(port: int):
    """A socket that nobody shares: two servers at one port would each get half of the requests."""
    return eventlet.listen((HOST, port), backlog=1024, reuse_port=False)


def write_ring(folder: Path, kind: str, port: int) -> None:
    """Say that one device holds the only copy of everything."""
    (folder / "device").mkdir(exist_ok=True)
    ring = RingBuilder(part_power=2, replicas=1, min_part_hours=0)
    ring.add_dev({"region": 1, "zone": 1, "ip": HOST, "port": port, "device": "device", "weight": 1})
    ring.rebalance()
    ring.get_ring().save(str(folder / f"{kind}.ring.gz"))


def serve(folder: Path, kind: str, sock, template: str, **more: str):
    """Start one of the four servers in a thread of this process."""
    file = folder / f"{kind}.conf"
    file.write_text(template.format(folder=folder, kind=kind, patience=PATIENCE_S, **more))
    return eventlet.spawn(
        eventlet.wsgi.server,
        sock,
        wsgi.loadapp(str(file), global_conf={"log_name": kind}),
        log=utils.NullLogger(),
        protocol=SwiftHttpProtocol,
        socket_timeout=PATIENCE_S,
        capitalize_response_headers=False,  # clients of S3 look for ETag, not for Etag
    )


if __name__ == "__main__":
    main()
