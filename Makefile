# The two commands that a user needs are `make demo` and `make test`.
.PHONY: demo test build setup bench

PROFILE ?= dev

build: setup
	cargo build --workspace --bins --locked --profile $(PROFILE)

setup:
	@.ci/setup

# The tests run the real executables, so these are built first.
test: build
	@.ci/test

demo:
	@.ci/setup demo
	@examples/demo

bench: setup
	cargo build --workspace --bins --locked --profile dist
	$${CARGO_TARGET_DIR:-target}/dist/mizzen-bench
