# What can be done here. CI runs the same targets as people: see .ci/run.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
HOST := $(TARGET_DIR)/release/host
WASM := $(TARGET_DIR)/wasm32-wasip2/guest

# Guests are the crates that are compiled to WebAssembly. Each is named as its directory.
EXAMPLES := $(notdir $(wildcard examples/*))
TEST_GUESTS := $(notdir $(wildcard tests/guests/*))
packages = $(addprefix -p ,$(1))

.PHONY: help setup host examples guests build run test bench check clean

help: ## Show this
	@awk -F ': .*## ' '/^[a-z]+:.*##/ { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## Add what is needed to compile guests: the target wasm32-wasip2
	@scripts/setup

build: host examples ## Build the host and the examples

run: build ## Build everything, start a host on ./data, and call an example on it
	@scripts/run $(HOST) $(foreach example,$(EXAMPLES),$(WASM)/$(example).wasm)

test: host guests ## Run all tests
	cargo test --release

bench: host guests ## Measure: latency, throughput, sleepers, recovery, replay; takes minutes, wants an idle machine
	cargo build --release --package bench
	$(TARGET_DIR)/release/bench --target $(TARGET_DIR) $(BENCH)

check: setup ## Look at formatting, lints, and dependencies that must not be
	cargo fmt --all --check
	cargo clippy --release --all-targets -- -D warnings
	scripts/guest-cargo clippy $(call packages,$(EXAMPLES) $(TEST_GUESTS)) -- -D warnings
	scripts/absent machine tokio wasmtime redb

clean: ## Remove what was built; ./data stays
	cargo clean

host:
	# All that builds for this machine, as `test` does, so that dependencies are built once.
	cargo build --release

examples: setup
	scripts/guest-cargo build $(call packages,$(EXAMPLES))

guests: setup
	scripts/guest-cargo build $(call packages,$(EXAMPLES) $(TEST_GUESTS))
