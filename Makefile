# Two commands: make demo, make test. Both make the environment first, in .venv.
PYTHON ?= python3.11
# torch is installed by itself first: asked for as a range, pip takes the newest build with all of
# CUDA. The version is the newest the tests ran on. On a machine without a GPU,
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
# takes the CPU build, a tenth of the size.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
BIN := .venv/bin
RUNS := $(CURDIR)/runs
# A port of our own, so that another Ray on this machine is left alone.
GCS_PORT ?= 6399
DASHBOARD_PORT ?= 8299
export RAY_DEDUP_LOGS := 0

.PHONY: env test lint demo clean

env: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[dev,text]"
	touch $@

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: env
	$(BIN)/python infra/check_layout.py
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

demo: env
	PATH="$(CURDIR)/$(BIN):$$PATH" OMNIMAT_STORAGE="$(RUNS)" \
	infra/demo.sh $(GCS_PORT) $(DASHBOARD_PORT)

clean:
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache
