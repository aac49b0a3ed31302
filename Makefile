# The words people and CI use. Each does its own set-up.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup repro submit test test-cluster test-tutorial test-faults check ui cluster cluster-stop benchmark benchmark-small benchmark-transfer benchmark-scale verdicts benchmark-recon recon-runner clean benchmark-throughput benchmark-data

VENV := .venv
READY := $(VENV)/.ready
# Stages call `python`; it must be the one of the environment, whoever calls make.
IN_VENV := source $(VENV)/bin/activate &&
STUDY ?= .

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

setup: $(READY)  ## the environment in .venv, from requirements.lock

$(READY): pyproject.toml requirements.lock infra/setup.sh
	infra/setup.sh $(VENV)
	touch $@

repro: $(READY)  ## run the pipeline; STUDY=studies/NAME runs another study than the one in params.yaml
	@$(IN_VENV) cd $(STUDY) && mkdir -p transfers reports/transfers reports/carried && \
	  time python -m pipelines.shared.dvc_command repro
	@echo "Report: $(STUDY)/reports/index.html. Runs and models: make ui"

submit: $(READY)  ## run STAGE=train@NAME on a Ray cluster; ADDRESS=http://head:8265 STUDY=... ARGS="--workers 8 --dry-run"
	@$(IN_VENV) sim-models submit $(STAGE) --study $(STUDY) $(if $(ADDRESS),--address $(ADDRESS)) $(ARGS)

test: $(READY)  ## pass the tests, a file on each core, but for those that take minutes
	@$(IN_VENV) pytest -n auto --dist loadfile --no-loadscope-reorder -m "not faults"

test-cluster: $(READY)  ## pass the tests that start PostgreSQL, S3, MLflow and a Ray of three nodes here
	@$(IN_VENV) pytest tests/cluster -m "not faults"

test-tutorial: $(READY)  ## run the commands of docs/tutorial.md, on made-up cells and with few steps
	@$(IN_VENV) pytest tests/tutorial

test-faults: $(READY)  ## kill studies, workers, nodes, drivers and servers; all must come to the same (a quarter of an hour)
	@$(IN_VENV) pytest tests tests/faults tests/cluster -m faults

check: $(READY)  ## lint, types, and which room may import which
	@$(IN_VENV) ruff check . && ruff format --check . && mypy && lint-imports

ui: $(READY)  ## MLflow's pages on the results, on this machine only
	@echo "MLflow: http://127.0.0.1:$${PORT:-5000} (experiments under Model training; stop with Ctrl-C)"
	@$(IN_VENV) MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	  mlflow server --host 127.0.0.1 --port $${PORT:-5000} --workers 1 \
	  --backend-store-uri sqlite:///$(CURDIR)/mlflow.db --artifacts-destination $(CURDIR)/mlruns

cluster: $(READY)  ## the services of a cluster on this machine, until Ctrl-C; NODES=2 CPUS=1 of each; see docs/cluster.md
	@$(IN_VENV) python -m infra.local start --nodes $${NODES:-2} --cpus $${CPUS:-1}

cluster-stop: $(READY)  ## end them from another shell
	@$(IN_VENV) python -m infra.local stop

benchmark: $(READY)  ## train every recipe at equal compute, or what is left of them; writes docs/benchmark_recipes.md
	@$(MAKE) --no-print-directory repro STUDY=studies/recipes
	@$(IN_VENV) python benchmarks/recipes/document.py studies/recipes docs/benchmark_recipes.md

benchmark-small: $(READY)  ## the same with two recipes, hardly trained: minutes; writes build/benchmark_recipes.md
	@$(MAKE) --no-print-directory repro STUDY=studies/recipes_small
	@$(IN_VENV) python benchmarks/recipes/document.py studies/recipes_small build/benchmark_recipes.md

benchmark-transfer: $(READY)  ## the search for freeze ranges beside trying everything; after repro; writes docs/benchmark_transfer.md
	@$(IN_VENV) python benchmarks/transfer/bench.py docs/benchmark_transfer.md

benchmark-scale: $(READY)  ## registry, tracking and DVC with 10^4 versions, 10^5 runs, 10^5 files; writes docs/benchmark_scale.md
	@$(IN_VENV) python benchmarks/scale/bench.py $(if $(PARTS),--only $(PARTS)) $(if $(FILES),--files $(FILES))

benchmark-data: $(READY)  ## DVC with 1,000 cells to S3 and back, one cell more, patches; ARGS="--cells 100"; writes docs/benchmark_data.md
	@$(IN_VENV) python benchmarks/data/bench.py $(ARGS)

benchmark-throughput: $(READY)  ## how fast networks train, and how long they wait for data; ARGS="--ray --workers 2"; writes docs/benchmark_throughput.md
	@$(IN_VENV) python benchmarks/throughput/bench.py $(ARGS) --out docs/benchmark_throughput.md

verdicts: $(READY)  ## three transfer studies whose answers are known, and whether they came out
	@$(MAKE) --no-print-directory repro STUDY=studies/verdicts
	@$(IN_VENV) python benchmarks/transfer/verdicts.py studies/verdicts

benchmark-recon: $(READY)  ## measure classical SIM against known truth, beside a peer; writes docs/benchmark_reconstruction.md
	@$(IN_VENV) python benchmarks/recon/bench.py

recon-runner:  ## print the command that runs ours on cases of that benchmark, and nothing else
	@$(MAKE) -s setup >&2
	@printf '%q %q\n' '$(CURDIR)/$(VENV)/bin/python' '$(CURDIR)/benchmarks/recon/run_sim_models.py'

clean:  ## remove what was computed and edits of dvc.lock and reports/ (not the environment, not DVC's cache)
	rm -rf data models transfers runs mlruns mlflow.db* reports .pytest_cache .mypy_cache .ruff_cache .hypothesis
	git checkout -q -- reports dvc.lock 2>/dev/null || true
