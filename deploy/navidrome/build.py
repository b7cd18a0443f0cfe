"""Build the plug-in for Navidrome: a zip file of its manifest and its WebAssembly module.

usage: python build.py FILE.ndp
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from musicrec import __version__

HERE = Path(__file__).parent
ANY_DAY = (1980, 1, 1, 0, 0, 0)  # the same sources make the same file


def main(target: str) -> None:
    """Write the plug-in."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in (("manifest.json", manifest()), ("plugin.wasm", module())):
            package.writestr(zipfile.ZipInfo(name, ANY_DAY), content, zipfile.ZIP_DEFLATED)


def manifest() -> bytes:
    """Return the manifest, with the version of musicrec."""
    content = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
    return json.dumps(content | {"version": __version__}, indent=2).encode()


def module() -> bytes:
    """Return plugin.zig as WebAssembly."""
    with tempfile.TemporaryDirectory() as folder:
        made, caches = (
            Path(folder) / "plugin.wasm",
            [f"--{kind}={folder}" for kind in ("cache-dir", "global-cache-dir")],
        )
        command = [
            sys.executable, "-m", "ziglang", "build-exe", str(HERE / "plugin.zig"), f"-femit-bin={made}",
            "-target", "wasm32-freestanding", "-fno-entry", "-rdynamic", "-O", "ReleaseSmall",
            *(part for cache in caches for part in cache.split("=")),
        ]  # fmt: skip
        subprocess.run(command, check=True)
        return made.read_bytes()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
