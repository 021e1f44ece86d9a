#!/bin/sh
# Build the prototypes and put the importable module `shapes` into a directory: build.sh DIRECTORY [PYTHON]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into=${1:?usage: build.sh DIRECTORY [PYTHON]}
python=$(command -v "${2:-python3}")
mkdir -p "$into"
PYO3_PYTHON="$python" PYO3_BUILD_EXTENSION_MODULE=1 \
    cargo build --quiet --release --manifest-path "$here/Cargo.toml" --target-dir "$into/target"
# A rename: overwriting the file in place would crash a process that has it mapped.
cp "$into/target/release/libshapes.so" "$into/shapes.new"
mv "$into/shapes.new" "$into/shapes.abi3.so"
