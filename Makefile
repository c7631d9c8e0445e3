# Two commands do it all on a fresh Debian machine with Python 3.11 and pip:  make demo   and   make test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# headless rendering, and the FFmpeg libraries that torchcodec loads
DEBS := libosmesa6 libgl1-mesa-dri libegl1 libgl1 ffmpeg
export MUJOCO_GL ?= osmesa
test test-long test-hosts: export OMP_NUM_THREADS ?= 1
# some images forbid Python to keep bytecode; each of the tests' processes would then compile torch anew, for seconds
test test-long test-hosts: export PYTHONDONTWRITEBYTECODE :=
# the vendors' code that native hosts are compared with: lerobot, and openpi's changes to transformers
HOSTS := .venv-hosts
OTHER_HOSTS := $(patsubst tests/hosts/requirements%.txt,$(HOSTS)%/.installed,\
  $(filter-out tests/hosts/requirements.txt,$(wildcard tests/hosts/requirements*.txt)))
OPENPI ?= https://github.com/Physical-Intelligence/openpi
OPENPI_COMMIT := 15a9616a00943ada6c20a0f158e3adb39df2ccac
OPENPI_CHANGES := src/openpi/models_pytorch/transformers_replace

.PHONY: help install libraries debs demo test test-long test-hosts lint types docs check golden clean

help:  ## what can be typed
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/.installed: pyproject.toml constraints.txt
	@command -v uv >/dev/null || $(PYTHON) -m uv --version >/dev/null 2>&1 || $(PYTHON) -m pip install --quiet uv 2>/dev/null \
	  || $(PYTHON) -m pip install --quiet --break-system-packages uv
	@echo "installing lara and what it needs into $(VENV) (about 7 GB, mostly torch) ..."
	@uv=$$(command -v uv || echo "$(PYTHON) -m uv"); \
	$$uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	$$uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(BIN)/.installed libraries  ## .venv with everything, and the system's libraries for rendering and video

libraries:
	@missing=$$(for p in $(DEBS); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "headless rendering and torchcodec need: sudo apt-get install -y" $$missing; fi; fi

debs:
	@echo $(DEBS)

demo: install  ## the whole loop on Meta-World -> outputs/demo/report.html
	@$(BIN)/lara demo

test: install  ## everything that fits 12 minutes on two cores
	@$(BIN)/python -m pytest -n 2 -m 'not long and not lerobot and not hosts'

test-long: install  ## what takes longer
	@$(BIN)/python -m pytest -m long

# --remove-destination: uv links files to its cache, which must not be written through
$(HOSTS)/.installed: tests/hosts/requirements.txt
	@echo "installing the vendors' code into $(HOSTS) (about 7 GB, mostly torch) ..."
	@uv=$$(command -v uv || echo "$(PYTHON) -m uv"); \
	$$uv venv --quiet --allow-existing --python 3.11 $(HOSTS) && \
	$$uv pip install --quiet --python $(HOSTS)/bin/python --requirement $<
	@rm -rf $(HOSTS)/openpi && git clone --quiet --no-checkout $(OPENPI) $(HOSTS)/openpi && \
	git -C $(HOSTS)/openpi checkout --quiet $(OPENPI_COMMIT) -- $(OPENPI_CHANGES) && \
	cp -r --remove-destination $(HOSTS)/openpi/$(OPENPI_CHANGES)/. $(HOSTS)/lib/python3.11/site-packages/transformers/
	@touch $@

# every other tests/hosts/requirements*.txt is an environment of its own, of Python 3.11 unless a line "# python ..." says
# another; one that cannot be made (no Python 3.12, say) is left out of the table, and pytest says so
$(OTHER_HOSTS): $(HOSTS)%/.installed: tests/hosts/requirements%.txt
	@uv=$$(command -v uv || echo "$(PYTHON) -m uv"); folder=$(@D); \
	version=$$(sed -n 's/^# python //p' $<); \
	echo "installing the vendors' code into $$folder ..."; \
	$$uv venv --quiet --allow-existing --python $${version:-3.11} $$folder && \
	$$uv pip install --quiet --python $$folder/bin/python --requirement $< && touch $@ \
	|| { echo "$$folder could not be made; its comparisons are skipped"; rm -rf $$folder; }

test-hosts: install $(HOSTS)/.installed $(OTHER_HOSTS)  ## native hosts against the vendors' own code -> docs/results/hosts.md
	@HOSTS_TABLE=docs/results/hosts.md $(BIN)/python -m pytest -m hosts tests/hosts

lint: install
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: install
	@$(BIN)/mypy

check: lint types docs test  ## what a change must pass

docs: install  ## the documentation as a site -> outputs/site/index.html; a warning or a dead link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo outputs/site/index.html

golden: install  ## re-record the golden losses, after a change that is meant to move them
	@$(BIN)/python -m tests.golden.refresh

clean:  ## forget the environment and all outputs
	rm -rf $(VENV) $(HOSTS) outputs
