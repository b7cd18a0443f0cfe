#!/usr/bin/env bash
# Which libraries of the system the wheel of implicit, for collaborative filtering, needs.
#
# Guess:    A wheel that is named manylinux2014 needs no library beyond those that this policy lists, and holds all others,
#           as the wheel of scikit-learn holds libgomp. So it works wherever pip installs it.
# Happens:  Every module of implicit 0.7.3 needs libgomp.so.1, which the policy does not list and the wheel does not hold.
#           Its own file WHEEL says linux_x86_64, so it was renamed. On a bare Debian 13, pip installs it, and
#           "import implicit.als" ends with ImportError: libgomp.so.1. It works once libgomp1 is installed.
# Versions: implicit 0.7.3, scikit-learn 1.9.1, pyelftools 0.32 from PyPI, Python 3.11 on x86-64. Seen in November 2026, Debian 13.
# Source:   PEP 599, "The manylinux2014 policy", and the wheels below.
# musicrec: says in one line what is missing and how to install it; docs/guides/judge-recommendations.md tells it.
#
# Usage: findings/implicit-libgomp.sh          PYTHON=/path/to/python3.11-or-later chooses the Python
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import io, sys, zipfile
from pathlib import Path

from elftools.elf.elffile import ELFFile

for path in sorted(Path(sys.argv[1]).glob("*.whl")):
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        modules = [name for name in names if name.endswith(".so") and "/gpu/" not in name]
        need = []
        for name in modules:
            dynamic = ELFFile(io.BytesIO(wheel.read(name))).get_section_by_name(".dynamic")
            needed = [tag.needed for tag in dynamic.iter_tags() if tag.entry.d_tag == "DT_NEEDED"]
            need.append(any(library.startswith("libgomp") for library in needed))
        (about,) = [name for name in names if name.endswith(".dist-info/WHEEL")]
        tags = [line.rpartition("-")[2] for line in wheel.read(about).decode().split("\n") if line.startswith("Tag: ")]
    package, version, *_, platform = path.stem.split("-")
    print(f"{package} {version}: its name says manylinux: {'manylinux' in platform}; its WHEEL does: {'manylinux' in tags[0]}")
    print(f"  some modules need libgomp: {any(need)}, all: {all(need)}; the wheel holds it: {any('libgomp' in name for name in names)}")
PYTHON
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyelftools==0.32
"$folder/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$folder" --only-binary :all: \
    implicit==0.7.3 scikit-learn==1.9.1
"$folder/venv/bin/python" "$folder/show.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN' && echo "as told above"
implicit 0.7.3: its name says manylinux: True; its WHEEL does: False
  some modules need libgomp: True, all: True; the wheel holds it: False
scikit_learn 1.9.1: its name says manylinux: True; its WHEEL does: True
  some modules need libgomp: True, all: False; the wheel holds it: True
SEEN
