# `make test` is the whole truth: it installs what is missing, and runs everything.
.PHONY: test deps fmt lint build unit ill-mannered browser contracts screenshots soak bench perf perf-check deps-perf memory-qr

# One target after the other, also with -j: later ones use what earlier ones built.
.NOTPARALLEL:

SHELL := /bin/bash
CARGO ?= cargo

test: deps fmt lint build unit ill-mannered browser contracts
	@echo "all tests passed"

# Debian and npm packages that the tests need; nothing happens when they are there.
deps:
	@scripts/deps

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# One profile for the gateway, its tests and the browser runs.
build:
	$(CARGO) build --workspace --all-targets --locked

unit:
	$(CARGO) test --workspace --locked

# The gateway's own tests once more, on an engine that awaits, delivers late and loses.
ill-mannered:
	COUNTERSIGN_TEST_ENGINE=ill-mannered $(CARGO) test --package countersign --locked --test '*'

browser:
	cd tests/browser && npm test

# The documents for machines: what they are, and what the gateway answers, by their validators and by schemathesis.
contracts:
	cd contracts && npm test
	cd contracts && npm run --silent fuzz

# The pictures of the documentation, from a gateway of their own, into docs/screenshots.
screenshots:
	@scripts/deps
	$(CARGO) build --locked --package countersign
	node tests/browser/screenshots.mjs

# Long runs of what `make test` does briefly, COUNTERSIGN_SOAK times as long (20), and the models' stories under a
# hundred times the schedules; docs/soak.md has what came of it.
soak:
	$(CARGO) test --package countersign --locked --test threats --test fire -- soak_ --ignored --nocapture --test-threads=1
	COUNTERSIGN_TEST_ENGINE=ill-mannered $(CARGO) test --package countersign --locked --test fire -- soak_ --ignored --nocapture
	COUNTERSIGN_MODELS=100000 $(CARGO) test --package countersign-models --locked

# Other servers to compare with; nothing happens when they are there.
deps-perf:
	@scripts/deps-perf

# The load tester on those servers: every delivery arrives once, in order and as it was sent.
perf-check: deps-perf
	@loadtest/targets/check

# Instructions and allocations of the gateway's paths against benches/baseline.toml, by hand. BENCH_FLAGS: `--update`
# writes a new baseline, a part of a name counts only such paths, `--runs N` sets how many processes the median is of.
bench:
	@scripts/deps bench
	$(CARGO) bench --package countersign --locked --bench instructions -- $(BENCH_FLAGS)

# Every row of the table of targets by the method; PERF_FLAGS=--quick for an indication. Needs a quiet machine.
perf:
	@if [ -x scripts/deps-perf ]; then scripts/deps-perf; fi
	$(CARGO) build --release --locked --package countersign --package countersign-loadtest
	target/release/countersign-loadtest perf --gateway target/release/countersign $(PERF_FLAGS)

# What a QR login costs in memory: a hundred thousand of them, twice, in five minutes.
memory-qr:
	$(CARGO) test --package countersign --locked --test attempts -- --ignored --nocapture memory_of_a_hundred_thousand_attempts
