#!/usr/bin/env bash
# Builds plugins into plugins/NAME.wasm (all of them, or those named), or with --guests the tests' own into target/guests.
# Adds the wasm32-wasip2 target where it is missing; where rustup cannot, Debian's rustc-web builds std and the guests.
set -euo pipefail
cd "$(dirname "$0")/.."
target=wasm32-wasip2
from=plugins to=plugins
if [ "${1:-}" = --guests ]; then
  shift
  from=tests/guests to=target/guests
fi
mkdir -p "$to"

packages=()
for dir in "$from"/*/; do
  [ -f "$dir/Cargo.toml" ] || continue
  name=$(basename "$dir")
  if [ $# -eq 0 ] || [[ " $* " == *" $name "* ]]; then packages+=("$name"); fi
done
[ ${#packages[@]} -gt 0 ] || { echo "build.sh: nothing to build in $from" >&2; exit 0; }
args=()
for name in "${packages[@]}"; do args+=(-p "$(sed -n 's/^name = "\(.*\)"/\1/p' "$from/$name/Cargo.toml" | head -n 1)"); done

# A plugin that is new here is not in Cargo.lock yet: this build adds it, and says so. All others are built as they are locked.
packages_of() { sed -n '/^name = /{N;s/^name = "\(.*\)"\nversion = "\(.*\)"/\1 \2/p;}' Cargo.lock | sort; }
locked=(--locked)
before=$(packages_of)
for manifest in plugins/*/Cargo.toml tests/guests/*/Cargo.toml; do
  [ -f "$manifest" ] || continue
  package=$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1)
  grep -qx "name = \"$package\"" Cargo.lock || locked=()
done

export CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS="-C target-feature=+simd128"
std="$(rustc --print sysroot)/lib/rustlib/$target/lib"
if [ ! -d "$std" ] && command -v rustup >/dev/null; then
  echo "build.sh: adding the target $target" >&2
  rustup target add "$target" >&2 || true
fi
if [ -d "$std" ]; then
  cargo build ${locked[@]+"${locked[@]}"} --profile plugin --target "$target" --target-dir target/plugins "${args[@]}"
else
  echo "build.sh: rustup has no $target here; using Debian's rustc-web" >&2
  command -v apt-get >/dev/null || { echo "build.sh: neither rustup nor apt-get can provide $target" >&2; exit 1; }
  [ -e /usr/share/doc/rust-web-src ] || { apt-get update -qq && apt-get install -y -qq rustc-web cargo-web rust-web-src wasi-libc >&2; }
  tools="$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin"
  PATH="/usr/bin:$tools:$tools/gcc-ld:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
  CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS="-C target-feature=+simd128 -L/usr/lib/wasm32-wasi -Clink-arg=-L/usr/lib/wasm32-wasi" \
    /usr/bin/cargo build ${locked[@]+"${locked[@]}"} --profile plugin --target "$target" --target-dir target/plugins -Zbuild-std=std,panic_abort "${args[@]}"
fi

added=$(comm -13 <(printf '%s\n' "$before") <(packages_of) | paste -sd, | sed 's/,/, /g')
[ -z "$added" ] || echo "build.sh: Cargo.lock: added $added" >&2

for name in "${packages[@]}"; do
  package=$(sed -n 's/^name = "\(.*\)"/\1/p' "$from/$name/Cargo.toml" | head -n 1)
  built="target/plugins/$target/plugin/${package//-/_}.wasm"
  cmp -s "$built" "$to/$name.wasm" || cp "$built" "$to/$name.wasm"
  printf '%s %s\n' "$(wc -c <"$to/$name.wasm")" "$to/$name.wasm"
done
