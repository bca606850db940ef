#!/bin/sh
# Builds the console from its sources beside them, and compares that with what is committed in dist/.
#
#   check.sh [DIR]     builds in DIR, which keeps what npm has installed, instead of a directory of its own
#   check.sh --write   builds dist/ anew
#
# NODE and NPM name other programs than those of the machine; NPM is npm's script.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
node=${NODE:-node}
npm=${NPM:-$(readlink -f "$(command -v npm)")}

write=
if [ "${1:-}" = --write ]; then
    write=yes
    shift
fi
if [ $# -gt 0 ]; then
    work=$1
    mkdir -p "$work"
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi

# Only what is built from: a file that is gone must not be built from either.
for left in "$work"/* "$work"/.[!.]*; do
    case ${left##*/} in
        node_modules | installed.json) ;;
        *) rm -rf "$left" ;;
    esac
done
for file in package.json package-lock.json index.html vite.config.ts svelte.config.js tsconfig.json public src; do
    cp -r "$here/$file" "$work/"
done
cd "$work"
if ! cmp -s package-lock.json installed.json || [ ! -d node_modules ]; then
    "$node" "$npm" ci --ignore-scripts --no-audit --no-fund --loglevel=error
    cp package-lock.json installed.json
fi
if grep '"resolved":' package-lock.json | grep -v '"https://registry.npmjs.org/'; then
    echo "package-lock.json names another registry than npm's own" >&2
    exit 1
fi
"$node" node_modules/svelte-check/bin/svelte-check --tsconfig ./tsconfig.json --fail-on-warnings --output machine
"$node" src/testing/run.mjs >tests.log || { cat tests.log >&2; exit 1; }
"$node" node_modules/vite/bin/vite.js build --logLevel warn

if [ -n "$write" ]; then
    rm -rf "$here/dist"
    cp -r dist "$here/dist"
elif ! diff -rq dist "$here/dist"; then
    echo "host/server/console/dist is not what its sources make: run host/server/console/check.sh --write, and commit it" >&2
    exit 1
fi

# What a browser loads before it opens the editor.
"$node" --input-type=module -e '
import fs from "node:fs";
import zlib from "node:zlib";
const files = fs.readdirSync("dist", { recursive: true }).map((name) => `dist/${name}`).filter((name) => fs.statSync(name).isFile());
const packed = (name) => zlib.brotliCompressSync(fs.readFileSync(name)).length;
const sizes = files.map((name) => [name, packed(name)]).sort((one, other) => other[1] - one[1]);
const sum = (all) => all.reduce((all, [, size]) => all + size, 0);
const editor = sizes.filter(([name]) => name.includes("/editor-"));
const rest = sum(sizes) - sum(editor);
console.log(`${files.length} files, ${rest} bytes in brotli, and ${sum(editor)} of the editor`);
if (rest > 200_000) {
  console.error(`that is more than 200,000: ${sizes.slice(0, 5).map(([name, size]) => `${name} ${size}`).join(", ")}`);
  process.exit(1);
}
'
