# `./justw` lists the recipes; `./justw run` and `./justw test` do everything on a fresh machine.

set shell := ["bash", "-euo", "pipefail", "-c"]

export CARGO_TERM_PROGRESS_WHEN := env("CARGO_TERM_PROGRESS_WHEN", "auto")

spout := "target/release/spout"

_list:
    @just --list --unsorted

# Build the host (target/release/spout). All recipes select the whole workspace, so that features are the same and
# dependencies are built once.
[group('use')]
build:
    cargo build --release --locked --workspace --bin spout

# The host with the feature `cluster` (target/release/spout-cluster): `spout worker` and `spout run --cluster`.
[group('use')]
cluster:
    cargo build --release --locked --workspace --features spout-cli/cluster --bin spout
    cp target/release/spout target/release/spout-cluster

# Build every plugin into plugins/*.wasm; adds the wasm32-wasip2 target where it is missing.
[group('use')]
plugins *names:
    plugins/build.sh {{ names }}

# The main job: Nexmark through plugins into a repo, and a growing NDJSON file followed into another; then SQL over both.
[group('use')]
run: build plugins
    examples/main-job.sh {{ spout }}

# Any command of the host: `./justw spout --help`.
[group('use')]
[positional-arguments]
spout *args: build
    @{{ spout }} "$@"

# Every test: unit, conformance, kill -9, hostile plugins, real input. One more at once than there are cores, because some wait for servers.
[group('check')]
test: _tests cluster build plugins guests model
    RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(getconf _NPROCESSORS_ONLN) + 1))} \
        cargo test --release --workspace --locked --features spout-cli/cluster

# Builds everything that tests need of this workspace in one go, so that no core waits for the last crate of a binary.
_tests:
    cargo test --release --workspace --locked --features spout-cli/cluster --no-run

# Explores the protocol by which processes share a pipeline, and designs of it that are wrong: half a minute, or all of it with
# `./justw model whole`, which takes minutes. A workspace of its own.
[group('check')]
model how="part":
    SPOUT_MODEL={{ how }} cargo test --release --locked --manifest-path tests/model/Cargo.toml --target-dir target/model -- --nocapture

# The unit tests of one room of the host, without building what is above it: `./justw room node sessions`.
[group('check')]
room name *filter:
    above=$(cargo tree --locked --workspace --invert spout-{{ name }} --edges normal,dev --prefix none \
        | sed -n 's/^\(spout-[a-z]*\) .*/\1/p' | sort -u | grep -vx spout-{{ name }} | sed 's/^/--exclude /'); \
    cargo test --release --locked --workspace --lib $above -- {{ filter }}

# The misbehaving plugins that tests run.
[group('check')]
guests:
    plugins/build.sh --guests

# The C bindings of the WIT, generated anew; installs wit-bindgen into target/tools where it is missing.
[group('check')]
c-bindings:
    sdk-guest/c/bindings.sh

# Everything that CI checks.
[group('check')]
ci:
    .ci/run

[group('check')]
fmt-check:
    cargo fmt --all --check
    cargo fmt --manifest-path tests/model/Cargo.toml --check

# Clippy, in the profile of the tests: these need not build macros and build scripts again then.
[group('check')]
lint:
    cargo clippy --release --workspace --all-targets --locked -- -D warnings
    cargo clippy --release --workspace --all-targets --locked --features spout-cli/cluster -- -D warnings
    cargo clippy --release --all-targets --locked --manifest-path tests/model/Cargo.toml --target-dir target/model -- -D warnings

# The docs site, into target/site: the pages of this repository and a reference made by the binary. A broken link fails.
[group('check')]
site: build plugins
    [ -x target/site-venv/bin/python ] || python3 -m venv target/site-venv
    target/site-venv/bin/pip install --quiet --disable-pip-version-check --requirement docs/site/requirements.txt
    target/site-venv/bin/python docs/site/build.py {{ spout }} target/site

# Licences, sources, banned crates and advisories; installs cargo-deny where it is missing. Without the database of advisories,
# which comes from GitHub, it says that they were not looked at and passes; in CI with SPOUT_ADVISORIES=required it does not.
[group('check')]
deny:
    command -v cargo-deny >/dev/null || [ -x target/tools/bin/cargo-deny ] || cargo install --quiet --debug --locked --root target/tools cargo-deny
    PATH="$PWD/target/tools/bin:$PATH" cargo deny --locked check licenses bans sources
    PATH="$PWD/target/tools/bin:$PATH" cargo deny --locked --manifest-path tests/model/Cargo.toml check licenses bans sources
    PATH="$PWD/target/tools/bin:$PATH" .ci/advisories

# Pulls the plug while a writer commits: copies of a live ext4 image must hold every acknowledged commit. Needs root.
[group('check')]
power-loss images="12":
    cargo build --release --locked --workspace --bin spout-life
    tests/power-loss.sh target/release/spout-life {{ images }}

# Fuzz targets, a seed an execution, on all cores and with checks of overflow: `./justw fuzz tar 1000000`. Those of CI are these.
[group('check')]
fuzz target="" executions="1000000" first="0":
    checked=$(sed -n 's/^name = "\(.*\)"/\1/p' $(grep -l spout-fuzz host/*/Cargo.toml sdk-guest/Cargo.toml sdk-guest/codec/Cargo.toml plugins/*/Cargo.toml) \
        | sed 's/.*/--config profile.release.package.&.overflow-checks=true/'); \
    SPOUT_FUZZ={{ executions }}:{{ first }} cargo test --release --locked --workspace --lib $checked -- \
        --nocapture --test-threads 1 {{ if target == "" { "fuzz" } else { "::" + replace(target, "-", "_") } }}

# What takes long: logs rotated from so many seeds, hosts killed so often, so many requests for each route of the API, and a million
# messages through each connector, whose server and host are killed (`tests/suite/endure.rs`); all of the model; and, where the binary has
# the feature `cluster`, ten minutes of trouble for processes that share a pipeline (`tests/suite/cluster`).
[group('check')]
soak seeds="500" kills="200": build plugins guests (model "whole")
    SPOUT_SEEDS={{ seeds }} SPOUT_KILLS={{ kills }} SPOUT_GARBAGE=2400 cargo test --release --workspace --locked --test suite -- --nocapture \
        rotation_loses killed_anywhere each_commit_that_is_read openapi:: postgres::kills \
        over_kills kills_and_cuts garbage_of_any_size cluster::

# Benchmarks as ratios in one run: `./justw bench`, `./justw bench decode`, `./justw bench repo --commits 10000`.
[group('check')]
bench *what: cluster build plugins guests
    cargo build --release --locked --workspace --bin spout-bench
    target/release/spout-bench {{ what }}
