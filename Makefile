# make              environment, then the main job: every run, the tables, report/report.html
# make full         the main job with every study of config/studies.yaml
# make test         every check and test
# make test-faults  kills, full disks, random edits: is anything lost or silently wrong? (LONG=1: more)
# make test-slurm   the workflow on a throw-away Slurm cluster, its jobs cancelled, its nodes crashed
# make test-sge     the same on a throw-away Grid Engine, as root
# make test-gpu     every study, resumed runs and shared cards on the NVIDIA GPU of this machine
# make test-image   builds the container image on a base of its own and runs the quick study in it, as root
# make quick        the same pipeline, small and without any network, in .quick/
# make bench        how fast it is, against what it cannot do without and against the last baseline
# make bench-peers  how fast it is against a notebook, scripts under GNU parallel, Lightning with Hydra
# make lock         pin the dependencies of pyproject.toml again
# make audit        ask for known vulnerabilities of the pinned packages (needs a network)
#
# PYTHON=python3.12 chooses the interpreter, CORES=2 how many runs there are at once.
# TORCH=cpu takes PyTorch's CPU build from PyTorch's own index (much smaller; no GPU).

PYTHON ?= python3
CORES ?= all

BIN := .venv/bin
PEERS := .venv-peers
READY := .venv/ready
TESTS := .venv/ready-tests
# What was chosen when the environment was made stays chosen until it is said otherwise.
INSTALLED_TORCH := $(shell cat .venv/torch 2>/dev/null)
TORCH ?= $(or $(INSTALLED_TORCH),default)

INSTALL := $(BIN)/python -m uv pip install --quiet --python $(BIN)/python --compile-bytecode

.PHONY: all env full test test-faults test-slurm test-sge test-gpu test-image quick bench bench-peers lock audit again
.DELETE_ON_ERROR:

all: $(READY)
	$(BIN)/snakemake --cores $(CORES)

env: $(READY)

full: $(READY)
	$(BIN)/snakemake --cores $(CORES) --configfile config/full.yaml

quick: $(READY)
	$(BIN)/snakemake --cores $(CORES) --directory .quick --configfile config/quick.yaml

test: $(TESTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/codespell
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-faults: $(TESTS)
	$(BIN)/python -m pytest -n 2 --dist $(if $(LONG),load,loadfile) -m fault tests/faults tests/unit

# What Slurm runs is installed by apt: slurmctld slurmd slurm-client munge.
test-slurm: $(TESTS)
	$(BIN)/python -m pytest tests/cluster/test_slurm.py tests/cluster/test_generic.py

# Installed by apt: gridengine-master gridengine-exec gridengine-client.
test-sge: $(TESTS)
	$(BIN)/python -m pytest tests/cluster/test_gridengine.py

test-gpu: $(TESTS)
	$(BIN)/python -m pytest tests/gpu

# Installed by apt: buildah debootstrap. BUILD=... options of `buildah build` that a build needs here.
test-image:
	tests/cluster/image.sh $(BUILD)

bench: $(TESTS)
	$(BIN)/python -m pytest benchmarks --benchmark-disable-gc --benchmark-columns=min,median,max,rounds

bench-peers: $(TESTS) $(PEERS)/ready
	$(BIN)/python benchmarks/peers.py

LOCK := $(BIN)/python -m uv pip compile --universal --python-version 3.11 --no-header

lock: $(READY)
	$(LOCK) --extra cluster pyproject.toml --output-file requirements.txt
	$(LOCK) --no-annotate --all-extras --constraints requirements.txt pyproject.toml --output-file tests/requirements.txt
	$(LOCK) --no-annotate benchmarks/peers/requirements.in --constraints tests/requirements.txt --output-file benchmarks/peers/requirements.txt

# The pins are complete (--no-deps). A package nobody could tell about counts as a failure (--strict).
audit: $(READY)
	$(BIN)/python -m uv tool run pip-audit --requirement tests/requirements.txt --no-deps --disable-pip --strict

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "make: $(PYTHON) was not found; install Python 3.11 to 3.13, or say make PYTHON=..." >&2; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
		echo "make: $$($(PYTHON) --version) is not Python 3.11 to 3.13; say make PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $(PYTHON) cannot make environments; on Debian or Ubuntu: apt install python3-venv" >&2; \
		exit 1; }
	$(PYTHON) -m venv .venv

ifneq ($(TORCH),$(INSTALLED_TORCH))
$(READY): again
endif

# pip alone takes four times as long as uv. Without compiled bytecode every job would compile
# PyTorch's Python files for itself wherever PYTHONDONTWRITEBYTECODE is set.
$(READY): requirements.txt pyproject.toml | $(BIN)/python
	@echo "make: installs PyTorch, Snakemake and what they need into .venv, about 6 GB, for some minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
ifeq ($(TORCH),default)
	@$(INSTALL) -r requirements.txt
else
	@$(INSTALL) --torch-backend $(TORCH) --constraints requirements.txt -r pyproject.toml --extra cluster
endif
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q workflow/bnstudy
	@echo $(TORCH) > .venv/torch
	@touch $@

# What runs need is installed by `make`, what checks and tests need by those who ask for them.
$(TESTS): tests/requirements.txt $(READY)
	@echo "make: installs what the tests need"
ifeq ($(TORCH),default)
	@$(INSTALL) -r tests/requirements.txt
else
	@$(INSTALL) --torch-backend $(TORCH) --constraints tests/requirements.txt -r pyproject.toml --all-extras
endif
	@touch $@

# The peers have an environment of their own, so that neither side's packages are in the other's way.
$(PEERS)/ready: benchmarks/peers/requirements.txt | $(TESTS)
	$(PYTHON) -m venv $(PEERS)
	$(BIN)/python -m uv pip install --python $(PEERS)/bin/python --compile-bytecode -r $<
	@touch $@
