# Two commands: make demo, make test. Both make the environment first, in .venv.
PYTHON ?= python3.11
# Which build of torch: cuda, or cpu, a tenth of the size.
ACCELERATOR ?= $(if $(shell command -v nvidia-smi),cuda,cpu)
BIN := .venv/bin
RUNS := $(CURDIR)/runs
# A port of our own, so that another Ray on this machine is left alone.
GCS_PORT ?= 6399
DASHBOARD_PORT ?= 8299
export RAY_DEDUP_LOGS := 0

.PHONY: env lock test soak lint docs demo clean

env: .venv/installed

.venv/installed: pyproject.toml $(wildcard infra/docker/requirements*.txt)
	PYTHON=$(PYTHON) infra/docker/build_environment.sh $(ACCELERATOR) .venv dev
	touch $@

# After a change of pyproject.toml; with UPGRADE=--upgrade, the newest of everything.
lock:
	$(PYTHON) infra/docker/lock.py $(UPGRADE)

lint: env
	$(BIN)/python infra/import_graph.py
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: env
	$(BIN)/python infra/check_layout.py
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

# What takes minutes, before a release.
soak: env
	$(BIN)/python -m pytest -m soak

# The documentation site, in build/docs; a link that leads nowhere is an error.
docs: env
	$(BIN)/mkdocs build --strict --config-file infra/documentation/mkdocs.yml

demo: env
	PATH="$(CURDIR)/$(BIN):$$PATH" OMNIMAT_STORAGE="$(RUNS)" \
	infra/demo.sh $(GCS_PORT) $(DASHBOARD_PORT)

clean:
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache
