# Everything runs in .venv, which `make setup` makes. PYTHON chooses the Python for it; without, setup.sh does. WEIGHTS=no fetches no
# weights of MusiCNN.
PYTHON ?=
WEIGHTS ?=
FAST ?=
BIN := .venv/bin
PROCESSES ?= $(if $(FAST),2,3)
FILES ?= 1000
SEED ?= 0
ARGS ?=

.PHONY: setup python demo test test-slow test-readers test-players test-ray-serve test-debian13 plugin lint docs bench bench-peers bench-scaling bench-memory bench-train bench-lookup \
	bench-topn bench-panel bench-nightly bench-kills fuzz lock clean

setup:
	@WEIGHTS="$(WEIGHTS)" ./setup.sh "$(PYTHON)"

python:  # says which Python that is
	@./setup.sh --which "$(PYTHON)"

demo: setup
	$(BIN)/musicrec demo demo-out

# A file's tests run in one process, which makes what they share once. FAST=1: the quick ones, which start no Ray, TensorFlow or server.
# A process that crashes ends the run: what it had left would be waited for for ever. Tests wait for servers and for processes that start, so
# three processes fill two cores.
test: setup
	$(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 $(if $(FAST),--fast)

test-slow: setup
	$(BIN)/pytest -m slow --timeout=1800

READERS = pandas pyarrow duckdb polars daft pyspark fastparquet datasets "ray[data]" "fsspec[http]"
test-readers: setup .readers/installed  # reads every table by every tool of docs/guides/readers.md; Spark needs Java 17
	MUSICREC_READERS=$(CURDIR)/.readers/bin/python $(BIN)/pytest -s --timeout=1800 -m "slow or not slow" tests/readers

.readers/installed: Makefile
	$(BIN)/python -m venv .readers
	.readers/bin/pip install $(READERS)
	touch $@

test-players: setup .venv/players-installed plugin  # plays songs by a client that others wrote, and runs the plug-in for Navidrome
	$(BIN)/pytest tests/serve/test_opensonic.py tests/serve/test_navidrome_plugin.py tests/serve/test_playlists_in_players.py

test-ray-serve: setup  # the deployment for Ray Serve; what that needs beside the rest is fetched into .ray-serve
	$(BIN)/python -m benchmarks.serve.ray_serve .ray-serve
	PYTHONPATH=$(CURDIR)/.ray-serve $(BIN)/pytest -m slow -k ray_serve tests/test_jobs.py

plugin: setup .venv/players-installed  # for Navidrome, into deploy/navidrome/musicrec.ndp
	$(BIN)/python deploy/navidrome/build.py deploy/navidrome/musicrec.ndp

.venv/players-installed: deploy/navidrome/requirements.lock
	$(BIN)/pip install --quiet --require-hashes -r $<
	touch $@

test-debian13:  # all tests by Python 3.13, as root, in a tree that debootstrap makes
	.ci/debian13 make test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup .venv/docs-installed  # as HTML, into docs/_build
	$(BIN)/sphinx-build -W -n --keep-going --quiet docs docs/_build

.venv/docs-installed: docs/requirements.lock
	$(BIN)/pip install --quiet --require-hashes -r docs/requirements.lock
	touch $@

bench: setup  # the quick ones; each also runs alone, see benchmarks/README.md
	$(BIN)/python -m benchmarks.chain.chain
	$(BIN)/python -m benchmarks.extract.extract
	$(BIN)/python -m benchmarks.similar.topn

bench-peers bench-scaling bench-memory bench-train bench-lookup bench-topn bench-panel bench-nightly bench-kills: bench-%: setup
	$(BIN)/python -m $(subst /,.,$(basename $(wildcard benchmarks/*/$*.py))) $(ARGS)

fuzz: setup  # FILES damaged files by SEED, then the torture set
	MUSICREC_FUZZ_FILES=$(FILES) MUSICREC_FUZZ_SEED=$(SEED) $(BIN)/pytest -m "slow or not slow" tests/stages/extract/test_fuzz.py

COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --upgrade
lock: setup  # of this package, of its documentation, and of the S3 server of its tests
	$(COMPILE) pyproject.toml --extra dev --extra networks --extra map --extra collaborative --output-file requirements.lock
	$(COMPILE) --group pyproject.toml:docs --constraint requirements.lock --output-file docs/requirements.lock
	$(COMPILE) --group pyproject.toml:players --constraint requirements.lock --output-file deploy/navidrome/requirements.lock
	echo swift | $(COMPILE) - --output-file tests/s3/requirements.lock

clean:
	rm -rf .venv .readers .ray-serve docs/_build .s3-server demo-out demo-out-synthetic-catalog
