# The only commands there are to know: make demo, make app, make test, make clean.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo app test clean

PYTHON ?= python3
ENV := .venv
RUN := $(ENV)/bin/python
EDIT ?= smile=2
PRESET ?= fast
WORKERS ?= 2

help:
	@echo "make demo   edit a bundled clip; the result is in out/   (another edit: make demo EDIT=age=-2)"
	@echo "make app    serve the page on this machine"
	@echo "make test   lint, types and tests"
	@echo "make clean  delete the environment and the results"

# Photographic faces where their networks can be fetched, and drawn ones, which come with Stitch, where they cannot.
demo: $(ENV)/installed
	@mkdir -p out
	@family=portrait; \
	$(RUN) -m stitch weights fetch --family $$family || { [ $$? = 1 ] || exit 1; family=miniature; \
	  echo "The family portrait could not be fetched (no network?): a drawn face is edited instead"; }; \
	$(RUN) -m stitch edit stitch/families/$$family/samples/demo.mp4 -o out/demo.mp4 --family $$family \
	  --edit $(EDIT) --preset $(PRESET) --comparison out/demo_comparison.mp4 --sheet out/demo.png

app: $(ENV)/installed
	$(RUN) app.py

# The browser that the page's tests drive; without it they are skipped and say so.
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || true)

test: $(ENV)/installed-dev
ifeq ($(CHROMIUM),)
	@{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	  echo "no Chromium: the page's browser tests are skipped (Debian: apt-get install chromium)"
endif
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m pytest -m "not slow" --timeout 1200 --numprocesses $(WORKERS) --dist loadfile

clean:
	rm -rf $(ENV) out

# On Linux pip's default PyTorch carries CUDA's libraries, gigabytes of them. Without an NVIDIA card, PyTorch's own index
# is asked for the CPU's build first, and not for long; where it gives none, pip's default follows with the rest.
CPU_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(RUN) -m pip --quiet --disable-pip-version-check

# Set up once for each state of the requirements; a set-up that broke off is done again.
$(ENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Stitch needs Python 3.10 to 3.13, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." \
	    "Install one and name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(RUN) || $(PYTHON) -m venv $(ENV) || { \
	  echo "The environment could not be made; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  rm -rf $(ENV); exit 1; }
	@[ "$$(uname -s)" != Linux ] || nvidia-smi -L >/dev/null 2>&1 || \
	  $(PIP) install --index-url $(CPU_INDEX) --retries 0 --timeout 6 $$(grep '^torch' requirements.txt) 2>/dev/null || \
	  echo "$(CPU_INDEX) gives no PyTorch for the CPU alone: pip's default is installed, which may be much larger"
	$(PIP) install -r requirements.txt
	@touch $@

$(ENV)/installed-dev: requirements-dev.txt $(ENV)/installed
	$(PIP) install -r requirements-dev.txt
	@touch $@
