"""What `make setup` does with the Pythons of a machine. They are shell scripts here, on a PATH of their own."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
SUPPORTED = ("3.11", "3.12", "3.13")

# Prints its version; -m venv makes a .venv whose python is this script, and -m pip writes down what it installs.
PYTHON = """\
#!/bin/sh
case "$*" in
*"-c "*ensurepip*) echo {version}; {ensurepip} ;;
*"-c "*pip*) echo {version}; [ -e .venv/bin/pip ] ;;
*"-m venv"*) rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python; touch .venv/bin/pip .venv/bin/activate ;;
*"-m pip"*) ! [ -e no-network ] && echo "$*" >>.venv/log ;;
*"-m musicrec"*)
    if [ -e no-weights ]; then echo "musicrec: musicnn cannot be fetched" >&2; exit 1; fi
    echo "$*" >>.venv/log ;;
esac
"""
SHIM = "#!/bin/sh\necho pyenv: command not found >&2\nexit 127\n"  # pyenv's, for a version it has but does not use


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path):
    """A checkout with nothing to install, and a PATH without any Python."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("Makefile", "setup.sh"):
        shutil.copy(ROOT / name, checkout / name)
    for name in ("requirements.lock", "pyproject.toml"):
        (checkout / name).touch()
    return Machine(checkout, tmp_path / "bin")


class Machine:
    def __init__(self, checkout, path):
        self.checkout, self.path, self.venv = checkout, path, checkout / ".venv"
        path.mkdir()
        for tool in ("sh", "make", "dirname", "rm", "mkdir", "cp", "touch"):
            (path / tool).symlink_to(shutil.which(tool))

    def has(self, name, version, ensurepip="true"):
        script(self.path / name, PYTHON.format(version=version, ensurepip=ensurepip))

    def make(self, *arguments):
        return subprocess.run(
            [self.path / "make", "--no-print-directory", *arguments],
            cwd=self.checkout, env={"PATH": str(self.path), "HOME": str(self.checkout.parent)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def takes(self, *arguments):
        told = self.make("python", *arguments)
        assert told.returncode == 0, told.stderr
        return told.stdout.strip()

    def refuses(self, *arguments):
        told = self.make("python", *arguments)
        assert told.returncode != 0
        (line,) = (line for line in told.stderr.splitlines() if not line.startswith("make:"))
        return line

    def in_venv(self):
        return self.make("python").stdout.strip()


@pytest.mark.parametrize("newest", SUPPORTED)
def test_the_newest_python_is_taken(machine, newest):
    for version in SUPPORTED[: SUPPORTED.index(newest) + 1]:
        machine.has(f"python{version}", f"{version}.4")
    machine.has("python3", "3.11.2")
    assert machine.takes() == f"Python {newest}.4 (python{newest})"


def test_plain_python3_is_taken_where_it_is_all_there_is(machine):
    machine.has("python3", "3.12.3")
    assert machine.takes() == "Python 3.12.3 (python3)"


def test_a_shim_that_does_not_run_is_passed_over(machine):
    script(machine.path / "python3.13", SHIM)
    machine.has("python3.11", "3.11.7")
    assert machine.takes() == "Python 3.11.7 (python3.11)"


def test_a_python_without_its_venv_module_is_passed_over(machine):
    machine.has("python3.13", "3.13.5", ensurepip="false")
    machine.has("python3.12", "3.12.3")
    assert machine.takes() == "Python 3.12.3 (python3.12)"


def test_the_package_of_a_missing_venv_module_is_named(machine):
    machine.has("python3.13", "3.13.5", ensurepip="false")
    machine.has("python3", "3.13.5", ensurepip="false")
    line = "make setup: Python 3.13.5 (python3.13) lacks its venv module: install python3.13-venv"
    assert machine.refuses() == line


@pytest.mark.parametrize("version", ["2.7.18", "3.1.1", "3.10.12", "3.14.0", "4.0.0"])
def test_a_python_too_old_or_too_new_is_refused_with_what_to_install(machine, version):
    machine.has("python3", version)
    assert f"needs Python 3.11, 3.12 or 3.13, and finds Python {version} (python3); install" in machine.refuses()


def test_a_machine_without_python_is_told_what_to_install(machine):
    assert "needs Python 3.11, 3.12 or 3.13, and finds none; install one of them" in machine.refuses()


def test_the_python_given_is_taken_even_if_another_is_newer(machine):
    machine.has("python3.13", "3.13.5")
    machine.has("mine", "3.11.9")
    assert machine.takes("PYTHON=mine") == "Python 3.11.9 (mine)"
    assert machine.takes(f"PYTHON={machine.path}/mine") == f"Python 3.11.9 ({machine.path}/mine)"


def test_a_python_given_that_does_not_do_is_refused_even_if_another_would(machine):
    machine.has("python3.13", "3.13.5")
    machine.has("old", "3.9.2")
    script(machine.path / "shim", SHIM)
    assert "finds Python 3.9.2 (old)" in machine.refuses("PYTHON=old")
    assert "finds no shim" in machine.refuses("PYTHON=shim")
    assert "finds no nowhere" in machine.refuses("PYTHON=nowhere")


def test_setup_makes_a_venv_and_says_how_much_it_fetches(machine):
    machine.has("python3.13", "3.13.5")
    told = machine.make("setup").stdout
    assert "Python 3.13.5 (python3.13)" in told
    assert "GB to fetch" in told
    assert machine.in_venv() == "Python 3.13.5 (.venv/bin/python)"
    assert "--require-hashes -r requirements.lock" in (machine.venv / "log").read_text()


def test_a_venv_stays_where_a_newer_python_appears(machine):
    machine.has("python3.11", "3.11.7")
    machine.make("setup")
    machine.has("python3.13", "3.13.5")
    (machine.venv / "log").unlink()
    assert machine.make("setup").stdout == ""
    assert machine.in_venv() == "Python 3.11.7 (.venv/bin/python)"
    assert not (machine.venv / "log").exists()


def test_a_venv_of_another_python_is_made_anew_when_that_is_asked_for(machine):
    machine.has("python3.11", "3.11.7")
    machine.make("setup")
    (machine.venv / "old").touch()
    machine.has("python3.13", "3.13.5")
    machine.make("setup", "PYTHON=python3.13")
    assert machine.in_venv() == "Python 3.13.5 (.venv/bin/python)"
    assert not (machine.venv / "old").exists()
    assert (machine.venv / "installed").exists()


@pytest.mark.parametrize("missing", ["bin/python", "bin/pip", "bin/activate"])
def test_half_a_venv_is_made_anew(machine, missing):
    machine.has("python3.11", "3.11.7")
    machine.make("setup")
    (machine.venv / missing).unlink()
    machine.make("setup")
    assert (machine.venv / missing).exists()
    assert machine.in_venv() == "Python 3.11.7 (.venv/bin/python)"


def test_setup_goes_on_where_it_was_interrupted(machine):
    machine.has("python3.11", "3.11.7")
    (machine.checkout / "no-network").touch()
    assert machine.make("setup").returncode != 0
    assert not (machine.venv / "installed").exists()
    (machine.venv / "kept").touch()
    (machine.checkout / "no-network").unlink()
    assert machine.make("setup").returncode == 0
    assert (machine.venv / "kept").exists()
    assert (machine.venv / "installed").exists()


def test_a_changed_lock_is_installed_into_the_venv_there_is(machine):
    machine.has("python3.11", "3.11.7")
    machine.make("setup")
    (machine.venv / "kept").touch()
    (machine.venv / "log").unlink()
    (machine.checkout / "requirements.lock").touch()
    machine.make("setup")
    assert (machine.venv / "kept").exists()
    assert (machine.venv / "log").exists()


ADDED = "-m musicrec models add musicnn"


def test_setup_fetches_the_weights_once(machine):
    machine.has("python3.11", "3.11.7")
    told = machine.make("setup")
    assert (machine.venv / "log").read_text().splitlines()[-1] == ADDED
    assert "Fetching the weights of MusiCNN, 29 MB" in told.stdout
    card = machine.checkout.parent / ".cache/musicrec/models/musicnn/card.toml"
    card.parent.mkdir(parents=True)
    card.touch()
    (machine.venv / "installed").unlink()
    assert "weights" not in machine.make("setup").stdout
    assert (machine.venv / "log").read_text().count(ADDED) == 1


def test_setup_leaves_the_weights_out_where_that_is_asked_for(machine):
    machine.has("python3.11", "3.11.7")
    told = machine.make("setup", "WEIGHTS=no")
    assert told.returncode == 0
    assert ADDED not in (machine.venv / "log").read_text()
    assert "weights" not in told.stdout + told.stderr


def test_weights_out_of_reach_do_not_fail_the_setup(machine):
    machine.has("python3.11", "3.11.7")
    (machine.checkout / "no-weights").touch()
    told = machine.make("setup")
    assert told.returncode == 0
    assert told.stderr.splitlines() == [
        "musicrec: musicnn cannot be fetched",
        "make setup: all but these weights is there; to fetch them later: .venv/bin/musicrec models add musicnn",
    ]
    assert (machine.venv / "installed").exists()
    assert machine.make("setup").stdout == ""  # it is not tried again at each call


def test_a_real_python_is_seen_as_what_it_is(machine):
    version = ".".join(map(str, sys.version_info[:3]))
    assert machine.takes(f"PYTHON={sys.executable}") == f"Python {version} ({sys.executable})"


def test_a_real_python_without_ensurepip_is_refused(machine):
    code = "import sys; sys.modules['ensurepip'] = None; exec(sys.argv[2])"
    script(machine.path / "python3", f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    assert "lacks its venv module" in machine.refuses()


def test_the_project_promises_the_pythons_that_setup_takes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = SpecifierSet(project["requires-python"])
    assert [f"3.{minor}" for minor in range(20) if f"3.{minor}.4" in promised] == list(SUPPORTED)
    assert [c[-4:] for c in project["classifiers"] if "Python :: 3." in c] == list(SUPPORTED)
