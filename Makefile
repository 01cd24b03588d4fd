# What can be done here. CI runs the same targets as people: see .ci/run.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
HOST := $(TARGET_DIR)/release/host
WASM := $(TARGET_DIR)/wasm32-wasip2/guest

# Guests are the crates that are compiled to WebAssembly. Each is named as its directory.
EXAMPLES := $(notdir $(wildcard examples/*))
TEST_GUESTS := $(notdir $(wildcard tests/guests/*))
packages = $(addprefix -p ,$(1))
# What `bench-peers` measures beside the host.
RESTATE := @restatedev/restate-server@1.7.12

.PHONY: help setup host examples guests peers clients build run cluster test bench bench-peers bench-cluster bench-resonate check clean

help: ## Show this
	@awk -F ': .*## ' '/^[a-z-]+:.*##/ { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## Add what is needed to compile guests: the target wasm32-wasip2
	@scripts/setup

build: host examples ## Build the host and the examples

run: build ## Build everything, start a host on ./data, and call an example on it
	@scripts/run $(HOST) $(foreach example,$(EXAMPLES),$(WASM)/$(example).wasm)

cluster: build ## Show three nodes over a PostgreSQL of their own, and kill one in the middle of its work
	@scripts/cluster $(HOST) $(WASM)/primes.wasm

test: host guests clients ## Run all tests, those with the SDKs of other languages included
	DURABLE_TEST_COMPONENTS=$(abspath $(WASM)) cargo test --release

bench: host guests ## Measure: latency, throughput, sleepers, recovery, replay; takes minutes, wants an idle machine
	$(TARGET_DIR)/release/bench --target $(TARGET_DIR) $(BENCH)

bench-peers: host guests peers ## Measure the same beside Restate, which is installed from npm; takes a quarter of an hour
	$(TARGET_DIR)/release/bench --target $(TARGET_DIR) --peers --concurrency 1,64 --seconds 4 --sleepers 10000 $(BENCH)

bench-cluster: host guests ## Measure a cluster: one node and three over PostgreSQL beside a single host, takeovers, recovery
	$(TARGET_DIR)/release/bench --target $(TARGET_DIR) --cluster $(BENCH)

bench-resonate: host guests ## Measure the promise protocol; RESONATE=path/to/resonate: beside Resonate's own server
	$(TARGET_DIR)/release/bench --target $(TARGET_DIR) --protocol $(if $(RESONATE),--resonate $(RESONATE)) $(BENCH)

check: setup ## Look at formatting, lints, and dependencies that must not be
	cargo fmt --all --check
	cargo clippy --release --all-targets -- -D warnings
	scripts/guest-cargo clippy $(call packages,$(EXAMPLES) $(TEST_GUESTS)) -- -D warnings
	scripts/absent machine tokio wasmtime redb

clean: ## Remove what was built; ./data stays
	cargo clean

peers:
	# Without its scripts: the only one tells its maker of the installation.
	npm install --prefix $(TARGET_DIR)/peers --no-save --no-audit --no-fund --ignore-scripts $(RESTATE)
	CARGO_TARGET_DIR=$(abspath $(TARGET_DIR)/peers/build) cargo build --release --locked --manifest-path tests/peers/restate/Cargo.toml

clients: ## Build the programs that use Resonate's SDKs, which npm, PyPI and crates.io have
	@scripts/clients $(TARGET_DIR)

host:
	# All that builds for this machine, as `test` does, so that dependencies are built once.
	cargo build --release

examples: setup
	scripts/guest-cargo build $(call packages,$(EXAMPLES))

guests: setup
	scripts/guest-cargo build $(call packages,$(EXAMPLES) $(TEST_GUESTS))
