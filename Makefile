# Everything goes into .venv/. TORCH=cpu (default) | cuda | system chooses the build of torch.
TORCH ?= cpu
TORCH_VERSION ?= 2.13.0
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
UV := $(shell command -v uv 2>/dev/null)
# uv does not read pip's own settings
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

ifeq ($(UV),)
  PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
  CREATE = $(PYTHON) -m venv $(if $(filter system,$(TORCH)),--system-site-packages) $(VENV)
  CPU_WHEELS := --no-deps --retries 0 --extra-index-url https://download.pytorch.org/whl/cpu
else
  PIP := $(UV) pip install --quiet --python $(BIN)/python
  CREATE = $(UV) venv --quiet --python $(PYTHON) $(if $(filter system,$(TORCH)),--system-site-packages) $(VENV)
  CPU_WHEELS := --no-deps --torch-backend cpu
endif

.PHONY: install demo test test-slow lint docs bench mutation mutation-full clean

install: $(STAMP)-$(TORCH)
$(STAMP)-$(TORCH): pyproject.toml Makefile
	@echo "installing into $(VENV) (torch: $(TORCH)) ..."
	@test -x $(BIN)/python || $(CREATE)
ifeq ($(TORCH),cpu)
	@$(PIP) $(CPU_WHEELS) "torch==$(TORCH_VERSION)" 2>/dev/null || $(PIP) "torch==$(TORCH_VERSION)"
else ifeq ($(TORCH),cuda)
	@$(PIP) "torch==$(TORCH_VERSION)"
endif
	@$(PIP) --editable ".[distill]"
	@touch $@

# Tools are installed when a target first needs them, so that the demo does not wait for them.
$(STAMP)-%-extra: $(STAMP)-$(TORCH)
	@$(PIP) --editable ".[distill,$*]"
	@touch $@

demo: install
	@$(BIN)/labeldp demo

# One thread a process: the suite runs in one process per core.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

test: $(STAMP)-test-extra
	@$(TEST) $(ARGS)

test-slow: $(STAMP)-test-extra
	@$(TEST) -m slow $(ARGS)

lint: $(STAMP)-test-extra $(STAMP)-lint-extra
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright

docs: $(STAMP)-docs-extra
	@$(BIN)/zensical build --clean --strict

# ARGS="--workers 8" takes more cores, ARGS=--survivors tries again what survived last time
mutation: $(STAMP)-test-extra $(STAMP)-mutation-extra
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.mutation $(ARGS)

mutation-full: $(STAMP)-test-extra $(STAMP)-mutation-extra
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.mutation --all $(ARGS)

bench: $(STAMP)-fast-extra $(STAMP)-arrow-extra
	@$(BIN)/python -m benchmarks.end_to_end
	@$(BIN)/python -m benchmarks.throughput
	@$(BIN)/python -m benchmarks.mechanism_curves
	@$(BIN)/python -m benchmarks.audit_power
	@$(BIN)/python -m benchmarks.ledger
	@$(BIN)/python -m benchmarks.tables
	@$(BIN)/python -m benchmarks.accounting_speed
	@$(BIN)/python -m benchmarks.utility_curves

clean:
	rm -rf $(VENV) site .pytest_cache .ruff_cache .hypothesis mutants
