# Two commands matter: `make demo` and `make test`. Each does all of its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUST_SOURCES := $(shell find rust_core/src -name '*.rs') Cargo.toml Cargo.lock rust_core/Cargo.toml pyproject.toml
RUFF_PATHS := python scripts tests examples

# Compiled modules are kept, whatever the environment says: else every process of a test compiles all of Web4 anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo mesh-demo demo-picture test test-rust test-python test-wheel lint floors stubs bench bench-peers bench-smoke fuzz fuzz-smoke sim sim-mutants transport-contract cuts crashes kills attacks soak clean hostile

demo: $(VENV)/.built $(VENV)/.demo
	@$(BIN)/python scripts/web4_demo.py $(DEMO_FLAGS)

mesh-demo: $(VENV)/.built $(VENV)/.demo
	@$(BIN)/python scripts/web4_mesh_demo.py $(DEMO_FLAGS)

# The terminal pictures of the README, from real runs.
demo-picture: $(VENV)/.built $(VENV)/.demo
	@$(BIN)/python scripts/demo_picture.py demo
	@$(BIN)/python scripts/demo_picture.py mesh-demo

test: test-rust test-python

test-rust:
	@echo "==> cargo test"
	@cargo test --workspace --quiet

# One process of tests more than there are cores: many of them wait for what they started. What takes minutes has hung.
TEST_PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(min(8, os.cpu_count() + 1))')
IN_PROCESSES = -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --timeout 300
test-python: $(VENV)/.built $(VENV)/.test $(VENV)/.demo
	@echo "==> pytest"
	@$(BIN)/python -m pytest $(IN_PROCESSES) $(PYTEST_FLAGS)

lint: $(VENV)/.built $(VENV)/.test $(VENV)/.lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	PYO3_PYTHON=$(abspath $(BIN)/python) cargo clippy --workspace --features python -- -D warnings
	$(BIN)/ruff format --check $(RUFF_PATHS)
	$(BIN)/ruff check $(RUFF_PATHS)
	$(BIN)/mypy
	$(MAKE) floors stubs

floors: $(VENV)/.built $(VENV)/.lint
	$(BIN)/lint-imports

stubs: $(VENV)/.built $(VENV)/.lint
	$(BIN)/python -m mypy.stubtest web4._core

# The wheel that users install, in an environment that has never seen this checkout's sources (RTT-72).
# A part of every room: what it is to be installed shows in any of them, and the whole suite has run in the checkout.
WHEEL_TESTS := tests/foundation tests/trust/test_fsm.py tests/test_imports.py tests/test_readme.py tests/test_guides.py \
	tests/rtt/test_channels.py tests/rtt/test_transports.py tests/rtt/test_resume.py tests/rtt/test_metrics.py \
	tests/journal/test_appending.py tests/journal/test_following.py tests/journal/test_verify.py \
	tests/journal/sqlite/test_opening.py tests/journal/sqlite/test_migration.py \
	tests/actors/test_lane_actors.py tests/actors/test_recovery.py tests/protocols/messages tests/protocols/router \
	tests/protocols/cip/test_cip_runtime.py tests/protocols/lip/test_extracting.py tests/mesh/test_mesh_runtime.py \
	tests/node tests/cli/test_verbs.py tests/e2e/test_web4_runtime.py
test-wheel: $(VENV)/.venv
	@echo "==> building the wheel and testing it in a clean environment"
	@rm -rf target/wheels target/wheel-env && mkdir -p target/wheels
	@$(BIN)/maturin build --release --quiet --out target/wheels
	@$(PYTHON) -m venv target/wheel-env
	@target/wheel-env/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@target/wheel-env/bin/python -m pip install --quiet --disable-pip-version-check target/wheels/*.whl
	@target/wheel-env/bin/python -m pip install --quiet --disable-pip-version-check --group test
	@target/wheel-env/bin/python -m pytest $(WHEEL_TESTS) $(IN_PROCESSES) $(PYTEST_FLAGS)

# Fuzz targets run on the stable toolchain; a failure prints the seed that repeats it. `cargo test` runs a few thousand
# inputs of each; this runs as many as you want.
FUZZ_ITERATIONS ?= 1000000
FUZZ_TARGETS := --test fuzz_envelope --test fuzz_frames
fuzz:
	WEB4_FUZZ_ITERATIONS=$(FUZZ_ITERATIONS) cargo test --profile fuzz $(FUZZ_TARGETS) -- --nocapture
	WEB4_FUZZ_ITERATIONS=$$(( $(FUZZ_ITERATIONS) / 50 )) cargo test --profile fuzz --test tls_damage fuzz -- --nocapture

# Without a build of its own.
fuzz-smoke:
	WEB4_FUZZ_ITERATIONS=20000 cargo test --quiet $(FUZZ_TARGETS) -- --nocapture

# Cuts at every byte of a recorded exchange; `make test` takes a sample of them.
CUTS_STRIDE ?= 1
cuts: $(VENV)/.built $(VENV)/.test
	WEB4_CUTS_STRIDE=$(CUTS_STRIDE) $(BIN)/python -m pytest -x tests/chaos/test_cuts.py

# The journal: power cuts of a simulated disk under the real engine, judged by a model; and nodes that are really killed.
# `make test` takes a few of each; a failure prints the seed that repeats it.
CRASHES ?= 10000
KILLS ?= 500
crashes: $(VENV)/.built $(VENV)/.test
	WEB4_CRASHES=$(CRASHES) $(BIN)/python -m pytest -s tests/journal/sqlite/test_crashes.py
	WEB4_MACHINE_EXAMPLES=$$(( $(CRASHES) / 30 )) $(BIN)/python -m pytest -s tests/journal/sqlite/test_machine.py

kills: $(VENV)/.built $(VENV)/.test
	WEB4_KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/chaos/test_journal_kills.py

# Extensions that attack, and trees that are killed, so many times; what is left of them is counted: nothing.
ROUNDS ?= 1000
attacks: $(VENV)/.built $(VENV)/.test
	WEB4_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -s tests/extensions/test_host_attacks.py
	WEB4_ROUNDS=$$(( $(ROUNDS) / 5 )) $(BIN)/python -m pytest -s tests/extensions/processes/test_tree_kill.py

# Constant traffic and a cut every second, for so many seconds; fails unless it is flat.
SECONDS ?= 600
soak: $(VENV)/.built $(VENV)/.test
	$(BIN)/python -m tests.chaos.soak --seconds $(SECONDS)

# A deliberately hostile node against an honest mesh, all of its attacks again and again; prints the seed that repeats it.
HOSTILE_FLAGS ?=
hostile: $(VENV)/.built $(VENV)/.test
	$(BIN)/python -m tests.chaos.hostile --seconds $(SECONDS) $(HOSTILE_FLAGS)

# Peers live in an environment of their own, never in that of the tests.
BENCH_ENV := target/bench-env

# Every shipped transport, cut at every byte, and 1 000 times at random under one session (RTT-69). Takes many minutes.
TRANSPORT_STRIDE ?= 1
TRANSPORT_ROUNDS ?= 1000
transport-contract: $(VENV)/.built $(VENV)/.test
	WEB4_TRANSPORT_STRIDE=$(TRANSPORT_STRIDE) WEB4_TRANSPORT_ROUNDS=$(TRANSPORT_ROUNDS) \
		$(BIN)/python -m pytest tests/testing/test_check_transport.py

# Endpoints and carriers that break, in virtual time, against a model; a failure prints the seed that repeats it. `cargo
# test` runs a thousand short seeds, and cuts at a sample of bytes; this runs as many as you want, and cuts at every byte.
SEEDS ?= 20000
STEPS ?= 600
sim:
	WEB4_SIM_SEEDS=$(SEEDS) WEB4_SIM_STEPS=$(STEPS) cargo test --profile fuzz --test sim rtt_sim -- --exact --nocapture
	WEB4_EVERY_BYTE=1 cargo test --profile fuzz --test session_cuts

# Bugs planted in a copy of the core: the simulator must find each. Takes some minutes.
sim-mutants:
	$(PYTHON) -m scripts.mutants

bench: $(VENV)/.built $(VENV)/.test bench-peers
	$(BIN)/python -m scripts.bench.envelope
	$(BENCH_ENV)/bin/python -m scripts.bench.transport --rounds 5 --warm-up 0.5 --seconds 1 --samples 20000 --robustness
	$(BENCH_ENV)/bin/python -m scripts.bench.envelopes
	$(BENCH_ENV)/bin/python -m scripts.bench.journal
	$(BENCH_ENV)/bin/python -m scripts.bench.workers

bench-peers: $(BENCH_ENV)/.built $(BENCH_ENV)/.nats-server

bench-smoke: $(VENV)/.built $(VENV)/.test
	$(BIN)/python -m scripts.bench.envelope --rounds 3 --repeats 10
	$(BIN)/python -m scripts.bench.transport --quick
	$(BIN)/python -m scripts.bench.envelopes --quick
	$(BIN)/python -m scripts.bench.journal --quick
	$(BIN)/python -m scripts.bench.workers --quick

clean:
	rm -rf $(VENV) target dist

# --- set-up, each step once -------------------------------------------------------------------------

$(VENV)/.venv:
	@echo "==> creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Web4 needs Python 3.11 or newer, found " + sys.version.split()[0])'
	@command -v cargo >/dev/null || { echo "Web4 builds its native core with Rust: install a toolchain (cargo) first" >&2; exit 3; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' 'maturin>=1.9,<2'
	@touch $@

$(VENV)/.built: $(VENV)/.venv $(RUST_SOURCES)
	@echo "==> building the native core (release); the first time takes a minute or two"
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --quiet
	@touch $@

$(VENV)/.demo: $(VENV)/.venv pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group demo
	@touch $@

$(VENV)/.test: $(VENV)/.venv pyproject.toml
	@echo "==> installing what the tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group test
	@touch $@

$(VENV)/.lint: $(VENV)/.venv pyproject.toml
	@echo "==> installing the linters"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group lint
	@touch $@

# Web4 is installed there as in the tests' environment: editable, with the same native core.
$(BENCH_ENV)/.built: $(VENV)/.built pyproject.toml
	@echo "==> installing the benchmark's peers into $(BENCH_ENV)"
	@test -x $(BENCH_ENV)/bin/python || $(PYTHON) -m venv $(BENCH_ENV)
	@$(BENCH_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@VIRTUAL_ENV=$(abspath $(BENCH_ENV)) $(BIN)/maturin develop --release --quiet
	@$(BENCH_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

# The one on the path will do; else Debian's is unpacked here, nothing is installed. Without either its row says so.
$(BENCH_ENV)/.nats-server: $(BENCH_ENV)/.built
	@command -v nats-server >/dev/null || \
		( cd $(BENCH_ENV) && apt-get download --quiet=2 nats-server && dpkg-deb -x nats-server_*.deb nats-server ) || \
		echo "==> no nats-server: neither on the path nor as a package; its row will say so" >&2
	@touch $@
