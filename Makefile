# linemon: `make` alone prints this help.
PYTHON ?= python3
BIN := .venv/bin
COMPILE = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header

.PHONY: help install run test check bench bench-dashboard bench-analysis sanitize fuzz-reader chaos chaos-scale agent wheel lock clean

help:  ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/run  ## set up .venv with the linemon command in it

run: .venv/run  ## collector, dashboard and an agent for this machine; Ctrl-C ends all
	@$(BIN)/linemon up

# Tests wait more than they compute, so there are more workers than cores; tests/conftest.py says who takes which. FAST=1 is for
# ten times a day.
ALL = --workers 5
QUICK = --workers 8 -m "not slow" $(addprefix --ignore tests/,browser faults programs) -p no:schemathesis
test: .venv/dev .venv/tools  ## set everything up and run all tests; FAST=1: only those that are quick
	$(BIN)/python -m pytest $(if $(FAST),$(QUICK),$(ALL))

check: .venv/dev  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/dev  ## measure this machine; prints a table
	$(BIN)/python -m bench

bench-dashboard: .venv/dev  ## measure the dashboard in Chromium against its budgets; some minutes
	$(BIN)/python -m bench.dashboard

DATA ?=
bench-analysis: .venv/dev  ## measure the analyses, with DATA=FOLDER also on published data; a quarter of an hour
	$(BIN)/python -m bench.analysis $(DATA)

# On a copy, so that the reader in use stays as it is. PYTHONMALLOC: each object has memory of its own, and ends there.
SECONDS ?= 20
CHECKED = build/checked
sanitize: .venv/dev  ## the C reader built to check itself (ASan, UBSan): the vectors, and SECONDS=20 of fuzzing
	@rm -rf $(CHECKED) && mkdir -p $(CHECKED) && cp -r linemon linemon_sender tests pyproject.toml README.md LICENSE $(CHECKED)
	@cd $(CHECKED) && CFLAGS='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all' LDSHARED='$(CC) -shared -fsanitize=address' \
		$(CURDIR)/$(BIN)/python -W ignore -c 'import setuptools; setuptools.setup()' -q build_ext --inplace --force
	@cd $(CHECKED) && export ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) && \
		$(CURDIR)/$(BIN)/python -c 'from linemon.lines import bulk; assert "checked" in bulk.reader.__file__' && \
		$(CURDIR)/$(BIN)/python -m pytest -q -p no:cacheprovider -k "linemon_holds and whole or fuzzing_found or C-" --timeout 600 \
			tests/test_vectors.py tests/test_wire.py && \
		$(CURDIR)/$(BIN)/python tests/fuzz.py --random --seconds $(SECONDS)

# Python.h and libpython of the Python that linemon runs on.
PYTHON_FLAGS = $(shell $(BIN)/python -c 'from sysconfig import get_config_var as v; \
	print("-I{} -L{} -Wl,-rpath,{} -lpython{}".format(v("INCLUDEPY"), v("LIBDIR"), v("LIBDIR"), v("LDVERSION")))')
fuzz-reader: .venv/run  ## libFuzzer on the C reader for SECONDS=20; needs clang
	@mkdir -p build/corpus
	@clang -O1 -g -DPy_LIMITED_API=0x030B0000 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		tests/fuzz_reader.c -o build/fuzz_reader $(PYTHON_FLAGS)
	@ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc build/fuzz_reader build/corpus -max_total_time=$(SECONDS) -max_len=1000 \
		-print_final_stats=1 -verbosity=0

MINUTES ?= 1
chaos: .venv/dev  ## kill, cut, stall and fill for MINUTES=1 and count what arrived
	$(BIN)/python -m tests.chaos --minutes $(MINUTES)
	$(BIN)/python -m tests.soak_agent --minutes $(MINUTES)
	$(BIN)/python -m tests.soak_senders --minutes $(MINUTES)

chaos-scale: .venv/dev  ## hosts, an edge, a bus of three servers, two centres, PostgreSQL: kill for MINUTES=1 and count what arrived
	$(BIN)/python -m tests.chaos_scale --minutes $(MINUTES)

# The standard library's zipapp, so that building it needs no .venv either. With bytecode for hosts of the same Python, and not
# compressed: to compile and to unpack when it starts costs an agent 1.5 MB for as long as it runs. Other Pythons take the sources.
DIST ?= dist
agent:  ## build dist/linemon-agent.pyz, which runs on any host with Python 3.9 and psutil
	@rm -rf $(DIST)/pyz && mkdir -p $(DIST)/pyz && cp -r agent linemon_sender $(DIST)/pyz && find $(DIST)/pyz -name __pycache__ -prune -exec rm -r {} +
	@printf 'from agent.__main__ import program\nprogram()\n' > $(DIST)/pyz/__main__.py
	@$(PYTHON) -m compileall -q -b --invalidation-mode unchecked-hash -s $(DIST)/pyz $(DIST)/pyz
	@$(PYTHON) -m zipapp $(DIST)/pyz -p '/usr/bin/env python3' -o $(DIST)/linemon-agent.pyz
	@rm -r $(DIST)/pyz && chmod 755 $(DIST)/linemon-agent.pyz && echo $(DIST)/linemon-agent.pyz

lock: .venv/dev  ## choose versions anew within the ranges of pyproject.toml
	$(BIN)/pip install --quiet uv
	$(COMPILE) --extra dev pyproject.toml -o requirements-dev.lock
	$(COMPILE) --constraint requirements-dev.lock pyproject.toml -o requirements.lock

wheel: .venv/run  ## build dist/linemon-*.whl with the C reader in it: where it is installed no compiler is needed
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(DIST) . && ls $(DIST)/*.whl

clean:  ## remove all that make made
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f linemon/lines/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp file per set-up step: it is done again only when what it depends on has changed.
.venv/run: requirements.lock pyproject.toml linemon/lines/_reader.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "linemon needs Python 3.11 or newer; say make PYTHON=/path/to/python3")'
	@echo "Setting up .venv, once"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@$(BIN)/python -c 'from linemon.lines import bulk; print(bulk.said())'
	@touch $@

.venv/dev: .venv/run requirements-dev.lock
	@echo "Setting up what the tests need, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# The tests open the page in a real browser and speak to the ports with a real netcat.
.venv/tools: tests/tools.sh | .venv/dev
	@sh tests/tools.sh
	@touch $@
