# The two commands that a user needs are `make demo` and `make test`.
.PHONY: demo test build setup bench

PROFILE ?= dev

build: setup
	cargo build --workspace --bins --locked --profile $(PROFILE)

setup:
	@.ci/setup

# The tests run the real executables, so these are built first.
test: build
	@if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --workspace --locked; else cargo test --workspace --locked; fi

demo: setup
	@examples/demo

bench: setup
	cargo build --workspace --bins --locked --release
	cargo run --release --locked -p mizzen-bench
