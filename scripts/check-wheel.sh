#!/usr/bin/env bash
# Builds the wheel, installs it without extras into an empty environment, and uses it there as a worker would.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$root/.venv/bin/python" -m build --wheel --outdir "$work/dist" "$root" >/dev/null
python=${PYTHON:-python3}
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/constraints.txt" "$work"/dist/*.whl

cd "$work"
venv/bin/python - <<'PYTHON'
import sys

import paramserver_client as ps
import paramserver_client.graph as tf

with ps.ParameterClient() as client:
    client.create_variable("w", value=[1.0, 2.0], dtype="float32")
    client.push({"w": [1.0, 1.0]})
    assert client.read("w").tolist() == [2.0, 3.0]

v = tf.get_variable("v", shape=[2], initializer=tf.zeros_initializer())
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    assert session.run(tf.assign_add(v, [1.0, 2.0])).tolist() == [1.0, 2.0]

heavy = {"fastapi", "pydantic", "uvicorn", "starlette", "orjson", "typer"} & set(sys.modules)
assert not heavy, f"the light install pulled in {heavy}"
print("the light install works: embedded client and local graph, without the server extra")
PYTHON
message=$(venv/bin/paramserver ls 2>&1 || true)
case $message in
  *'paramserver[server]'*) echo "without the extra, the command says: $message" ;;
  *) echo "the paramserver command should print the install line, got: $message" >&2; exit 1 ;;
esac
