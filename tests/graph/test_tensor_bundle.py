"""TensorFlow's own checkpoints: files it made are read for ever, damaged ones are refused by name."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paramserver_client.graph as tf
from paramserver_client.graph.crc32c import crc32c, masked
from paramserver_client.graph.tensor_bundle import TensorBundle, _signed, read_bundle
from support.graph_target import Target

GOLDEN = Path(__file__).parents[1] / "golden" / "tensorflow"
DTYPES = [
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
    "complex64",
    "complex128",
]
TABLE = np.arange(600, dtype=np.float32).reshape(200, 3)


def expected(dtype: str) -> Any:
    numbers: Any = np.arange(6).reshape(2, 3)
    if dtype == "bool":
        return numbers % 2 == 1
    return (numbers * (1 + 2j) if "complex" in dtype else numbers).astype(tf.as_dtype(dtype).as_numpy_dtype)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the golden files, to damage."""
    shutil.copytree(GOLDEN, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype: str) -> None:
    found = TensorBundle(str(GOLDEN / "types.ckpt-7")).read(f"types/{dtype}")
    assert found.dtype == tf.as_dtype(dtype).as_numpy_dtype
    np.testing.assert_array_equal(found, expected(dtype))


def test_strings_scalars_and_empties() -> None:
    found = read_bundle(str(GOLDEN / "types.ckpt-7"))
    assert found["types/string"].tolist() == [[b"a", b"b\0c"], [b"", b"x" * 300]]
    assert (found["scalar"].shape, found["scalar"], found["empty"].shape) == ((), 3.5, (0, 3))


def test_several_files() -> None:
    found = read_bundle(str(GOLDEN / "sharded.ckpt"))
    assert len(found) == 40
    for number in range(40):
        np.testing.assert_array_equal(found[f"layer{number:02}/weights"], np.full(number % 5, float(number)))


def test_variables_in_parts() -> None:
    found = read_bundle(str(GOLDEN / "parts.ckpt"))
    np.testing.assert_array_equal(found["table"], TABLE)
    np.testing.assert_array_equal(found["across"], TABLE.T)


def test_savers_restore_them(target: Target) -> None:
    with target.session() as sess:
        whole = tf.Variable(tf.zeros([200, 3]), name="table")
        across = tf.get_variable("across", [3, 200], partitioner=tf.fixed_size_partitioner(4, axis=1))
        tf.train.Saver().restore(sess, str(GOLDEN / "parts.ckpt"))
        np.testing.assert_array_equal(sess.run(whole), TABLE)
        np.testing.assert_array_equal(sess.run(across.as_tensor()), TABLE.T)
        half = tf.Variable(tf.cast(tf.zeros([2, 3]), tf.bfloat16), name="types/bfloat16")
        text, wrong = tf.Variable([["", ""], ["", ""]]), tf.Variable(1)
        prefix = str(GOLDEN / "types.ckpt-7")
        tf.train.Saver({"types/bfloat16": half, "types/string": text}).restore(sess, prefix)
        assert sess.run(half).astype(float).tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        assert sess.run(text).tolist()[0] == [b"a", b"b\0c"]
        for names, error, words in (
            ({"scalar": wrong}, tf.errors.InvalidArgumentError, "expected dtype int32 does not equal original dtype float32"),
            ({"types/int32": wrong}, tf.errors.InvalidArgumentError, r"lhs shape= \[\] rhs shape= \[2,3\]"),
            ({"types/int32": wrong, "gone": whole}, tf.errors.NotFoundError, "Key gone not found in checkpoint"),
        ):  # fmt: skip
            with pytest.raises(error, match=words):
                tf.train.Saver(names).restore(sess, prefix)


def test_the_reader_and_its_kin(copy: Path) -> None:
    prefix = str(copy / "types.ckpt-7")
    reader = tf.train.NewCheckpointReader(prefix)
    assert reader.get_variable_to_shape_map()["types/string"] == [2, 2]
    assert reader.get_variable_to_dtype_map()["types/uint16"] == tf.uint16
    assert tf.train.load_variable(prefix, "scalar") == 3.5
    assert len(tf.train.list_variables(str(copy / "sharded.ckpt"))) == 40
    assert tf.train.checkpoint_exists(prefix)
    assert len(tf.train.get_checkpoint_mtimes([prefix])) == 1
    tf.train.remove_checkpoint(prefix)
    assert [each.name for each in copy.iterdir() if each.name.startswith("types")] == []
    with pytest.raises(tf.errors.NotFoundError, match="Failed to find any matching files"):
        TensorBundle(prefix)


def test_every_damaged_byte_of_an_index_is_noticed(copy: Path) -> None:
    index = copy / "parts.ckpt.index"
    sound = index.read_bytes()
    for place in range(len(sound)):
        index.write_bytes(sound[:place] + bytes([sound[place] ^ 0x41]) + sound[place + 1 :])
        try:
            found = read_bundle(str(copy / "parts.ckpt"))
        except (tf.errors.DataLossError, tf.errors.UnimplementedError, tf.errors.NotFoundError):
            continue
        np.testing.assert_array_equal(found["table"], TABLE)  # A byte between the parts of the footer says nothing.
    for length in (0, 7, 47, 48, 100, len(sound) - 1):
        index.write_bytes(sound[:length])
        with pytest.raises(tf.errors.DataLossError):
            TensorBundle(str(copy / "parts.ckpt"))


def test_damaged_and_cut_values_are_refused_by_name(copy: Path) -> None:
    data = copy / "types.ckpt-7.data-00000-of-00001"
    sound = data.read_bytes()
    for place in range(0, len(sound), 7):
        data.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(tf.errors.DataLossError, match=r"another checksum|does not end"):
            read_bundle(str(copy / "types.ckpt-7"))
    data.write_bytes(sound[:-1])
    with pytest.raises(tf.errors.DataLossError, match="it is cut"):
        read_bundle(str(copy / "types.ckpt-7"))
    data.unlink()
    with pytest.raises(tf.errors.NotFoundError, match="lacks a data file"):
        read_bundle(str(copy / "types.ckpt-7"))
    with pytest.raises(tf.errors.NotFoundError, match="Key gone not found"):
        TensorBundle(str(copy / "parts.ckpt")).read("gone")


def test_a_restore_from_damaged_files_changes_nothing(copy: Path, sess: tf.Session) -> None:
    v = tf.Variable(tf.ones([200, 3]), name="table")
    sess.run(v.initializer)
    data = copy / "parts.ckpt.data-00000-of-00001"
    data.write_bytes(b"\xff" * len(data.read_bytes()))
    with pytest.raises(tf.errors.DataLossError):
        tf.train.Saver([v]).restore(sess, str(copy / "parts.ckpt"))
    assert sess.run(v).min() == 1.0


def test_the_checksum() -> None:
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert masked(crc32c(b"foo")) != crc32c(b"foo")


@settings(max_examples=20)
@given(st.integers(0, 70_000), st.integers(0, 2**32 - 1))
def test_the_checksum_of_a_whole_is_that_of_its_parts(cut: int, seed: int) -> None:
    data = np.random.default_rng(seed).bytes(70_000)
    whole = crc32c(data)
    assert crc32c(data[cut:], crc32c(data[:cut])) == whole


@given(st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=20))
def test_signed_numbers_sort_as_their_bytes_do(numbers: list[int]) -> None:
    assert sorted(numbers) == sorted(numbers, key=_signed)


def test_a_table_that_says_more_than_it_has(tmp_path: Path) -> None:
    prefix = str(tmp_path / "m")
    Path(f"{prefix}.index").write_bytes(bytes(40) + struct.pack("<Q", 0xDB4775248B80FB57))
    with pytest.raises(tf.errors.DataLossError):
        TensorBundle(prefix)
