# The two commands of the README, and what keeps them honest.
#
#   make run    build dui and watch three nodes find each other; ^C ends it
#   make test   everything a change must pass; installs what it needs
#   make fuzz   throw bytes at the codec and the peer, FUZZ_SECONDS each (60)
#   make shows  measure what CHANGELOG.md promises, about an hour; see bench/shows
#   make image  a container image of the static binary, without a registry
#   make install  the release binary into ~/.cargo/bin

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := run
.PHONY: run test install fuzz shows fmt clippy unit network go docker docs tools static image

FUZZ_SECONDS ?= 60
STATIC_TARGET := x86_64-unknown-linux-gnu
# Entropy comes from the system call: an empty root has no /dev/urandom.
STATIC_FLAGS := -C target-feature=+crt-static -C relocation-model=static --cfg getrandom_backend="linux_getrandom"
SHOWS := make-run ten-terminals storm-100 leave-100 kill event-100 stop-3s busy-cpus restart-no-ghost strangers fuzz \
	find-10 doctor vanish partition sick-host reject sealed docker image \
	rumor-1024 detect-1000 boot-2000 idle-bytes chaos partition-24h trace \
	entries-speed entries-memory reconcile-million schemathesis write-100 kill-loop go-watch \
	founding found-200 leader-up leader-kill manager-kills views-ten managers-35

run:
	@cargo run -p dui-cli -- up

install:
	@RUSTFLAGS='$(STATIC_FLAGS)' cargo install --locked --path crates/cli --target $(STATIC_TARGET)

# In the order in which a mistake is cheapest to hear of.
test: tools fmt clippy unit network go docker docs

fmt:
	@cargo fmt --all --check

clippy:
	@cargo clippy --quiet --workspace --all-targets -- -D warnings
	@cargo clippy --quiet -p dui-sim --all-targets --features bugs -- -D warnings

# Includes `tidy`, the rules that no compiler checks (see xtask). Then nodes
# make mistakes on purpose, which the simulator has to find.
unit:
	@cargo nextest run --workspace
	@cargo nextest run -p dui-sim --features bugs --test bugs

# Hosts in namespaces, with the binary that `unit` has built.
network:
	@cargo build --quiet -p dui-cli
	@python3 tests/network/stories.py
	@python3 tests/network/doctor.py

# The Go client against real nodes, with the binary that `unit` has built. It
# has no dependencies, so nothing is fetched.
go:
	@cargo build --quiet -p dui-cli
	@cd clients/go; export GOPROXY=off GOFLAGS=-mod=mod; \
	unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "gofmt: $$unformatted"; exit 1; }; \
	go vet ./...; go test -race -count=1 ./...

# Containers, with a static binary of the profile of tests: thin LTO would cost
# more than the stories do, and what they tell does not depend on it.
docker:
	@out="$${CARGO_TARGET_DIR:-target}/$(STATIC_TARGET)/debug"; \
	RUSTFLAGS='$(STATIC_FLAGS)' cargo build --quiet --target $(STATIC_TARGET) -p dui-cli; \
	strip -o "$$out/dui-stripped" "$$out/dui"; \
	python3 tests/docker/stories.py "$$out/dui-stripped"

docs:
	@cargo test --quiet --workspace --doc
	@RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps

# Does nothing, quietly, where everything is there.
tools:
	@xtask/tools

static:
	@RUSTFLAGS='$(STATIC_FLAGS)' cargo build --release --target $(STATIC_TARGET) -p dui-cli

image: static
	@out="$${CARGO_TARGET_DIR:-target}"; mkdir -p "$$out/image/data"; \
	cp "$$out/$(STATIC_TARGET)/release/dui" "$$out/image/dui"; \
	docker build --quiet --tag dui --file deploy/docker/Dockerfile "$$out/image"

fuzz:
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	@for target in codec peer; do \
		mkdir -p fuzz/corpus/$$target; \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $$target fuzz/corpus/$$target $$(ls -d fuzz/seeds/$$target 2>/dev/null) -- -max_total_time=$(FUZZ_SECONDS) -timeout=10; \
	done

# All of them, even when one falls short; fails if any did.
shows: image
	@short=""; \
	for show in $(SHOWS); do bench/shows/$$show || short="$$short $$show"; done; \
	test -z "$$short" || { echo "falls short:$$short"; exit 1; }
