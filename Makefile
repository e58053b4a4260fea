# The only commands there are to know: make demo, make app, make test, make study, make clean.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo app test study clean

PYTHON ?= python3
ENV := .venv
RUN := $(ENV)/bin/python
EDIT ?= smile=2
PRESET ?= fast
WORKERS ?= 2

help:
	@echo "make demo   edit a bundled clip; the result is in out/   (another edit: make demo EDIT=age=-2)"
	@echo "make app    serve the page on this machine"
	@echo "make test   lint, types, known weaknesses and tests"
	@echo "make study  the figures of docs/results.md anew; hours (filmed clips of yours: make study CLIPS='a.mp4 b.mp4')"
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
	$(RUN) -m bandit -q -r stitch app.py weights.py
	$(RUN) -m pytest -m "not slow" --timeout 1200 --numprocesses $(WORKERS) --dist loadfile

# What docs/results.md shows; the records are kept beside it. Hours: minutes of a free core for each drawn clip, half an
# hour and more for each filmed one. A killed study goes on from where it was. Pictures stay in out/study.
STUDY ?= out/study
RECORDS ?= docs/study
CLIPS ?=
DRAWN := $(foreach seed,9101 9102 9103 9104 9105,$(STUDY)/clips/drawn$(seed).mp4)

study: $(ENV)/installed $(DRAWN)
	$(RUN) -m stitch study ablation $(DRAWN) --family miniature --out $(STUDY)/drawn --preset draft --projection 40
	cp $(STUDY)/drawn/ablation.json $(RECORDS)/drawn.json
	$(RUN) -m stitch study presets $(firstword $(DRAWN)) --family miniature --out $(STUDY)/presets --preset draft
	cp $(STUDY)/presets/presets.json $(RECORDS)/presets.json
	$(RUN) -m stitch study length $(firstword $(DRAWN)) --family miniature --out $(STUDY)/length
	cp $(STUDY)/length/length.json $(RECORDS)/length.json
ifneq ($(CLIPS),)
	$(RUN) -m stitch weights fetch --family portrait
	$(RUN) -m stitch study ablation $(CLIPS) --family portrait --out $(STUDY)/filmed --preset draft --frames 6 \
	  --projection 40 --tune-steps 45 --shared-steps 45 --steps 0
	cp $(STUDY)/filmed/ablation.json $(RECORDS)/filmed.json
endif

$(STUDY)/clips/drawn%.mp4: | $(ENV)/installed
	@mkdir -p $(@D)
	$(RUN) -m stitch sample $@ --family miniature --seed $* --frames 8 --size 400x300

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
