"""requirements.lock: that it serves every Python we support, and that the package index still has what it pins."""

import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (\S+) \| (\S+) \| (\S+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
UNREACHABLE = ("error sending request", "network was disabled")  # what uv says without an index


def linux(python):
    """What markers see on Linux by that Python."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.4",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
    }


def pins(python):
    """Of each package that this Python gets on Linux: its version, and the hashes of its files."""
    found = {}
    for entry in (ROOT / "requirements.lock").read_text().replace("\\\n", "").splitlines():
        requirement, *hashes = entry.split("--hash=sha256:")
        pin = Requirement(requirement)
        if pin.marker is None or pin.marker.evaluate(linux(python)):
            assert pin.name not in found, f"two pins of {pin.name} for Python {python}"
            (version,) = pin.specifier
            found[pin.name] = version.version, {sha.strip() for sha in hashes}
    return found


def series(version):
    """The part of a version that changes where its interface may: before 1.0 the minor one too."""
    major, minor, *_ = *Version(version).release, 0
    return f"0.{minor}" if major == 0 else str(major)


def series_by_python():
    """Of each package its series for each Python; a dash where it is not needed."""
    pinned = [pins(python) for python in PYTHONS]
    return {
        name: tuple(series(those[name][0]) if name in those else "–" for those in pinned)
        for name in set().union(*pinned)
    }


def table():
    """The rows of CONTRIBUTING's table: of each package its series for each Python, and its tests."""
    rows = ROW.findall((ROOT / "CONTRIBUTING.md").read_text())
    return {name: (tuple(by_python), TEST.findall(tests)) for name, *by_python, tests in rows}


def resolve(python, folder):
    """Ask the package index what the pins need by that Python on Linux: packages with their wheels, as in PEP 751."""
    output = folder / "pylock.toml"
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    told = subprocess.run(
        [uv, "pip", "compile", "-", "--python-version", python, "--python-platform", "x86_64-manylinux_2_28",
         "--only-binary", ":all:", "--no-python-downloads", "--quiet", "--output-file", output],
        input="\n".join(f"{name}=={version}" for name, (version, _) in pins(python).items()),
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if any(line in told.stderr for line in UNREACHABLE):
        pytest.skip("the package index cannot be reached")
    assert told.returncode == 0, told.stderr
    return tomllib.loads(output.read_text())["packages"]


@pytest.mark.parametrize("python", PYTHONS)
def test_what_the_project_asks_for_is_pinned_for_every_python(python):
    pinned = pins(python)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for asked in map(Requirement, project["dependencies"] + project["optional-dependencies"]["dev"]):
        version, _ = pinned[canonicalize_name(asked.name)]
        assert version in asked.specifier


def test_packages_that_differ_by_python_are_those_of_the_table_in_contributing():
    differ = {name: found for name, found in series_by_python().items() if len(set(found)) > 1}
    assert {name: by_python for name, (by_python, _) in table().items()} == differ


def test_each_package_that_differs_by_python_has_its_tests():
    for name, (_, tests) in table().items():
        assert tests, f"no test covers {name}"
        for file, test in tests:
            assert f"\ndef {test}(" in (ROOT / file).read_text(), f"{file} has no {test}"


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_every_pin_can_still_be_installed_and_nothing_is_missing(python, tmp_path):
    pinned = pins(python)
    resolved = resolve(python, tmp_path)
    assert {p["name"]: p["version"] for p in resolved} == {name: version for name, (version, _) in pinned.items()}
    n_bytes = 0
    for package in resolved:
        wheels = [w for w in package["wheels"] if w["hashes"]["sha256"] in pinned[package["name"]][1]]
        assert wheels, f"no wheel of {package['name']} for Python {python} has a hash of the lock"
        n_bytes += wheels[0]["size"]
    told = float(re.search(r"up to ([\d.]+) GB to fetch", (ROOT / "setup.sh").read_text())[1])
    assert n_bytes / 1e9 == pytest.approx(told, abs=0.06)
