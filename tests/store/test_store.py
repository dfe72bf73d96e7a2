"""The store's promises, one by one: after each call both the answer and the state are looked at."""

from __future__ import annotations

import numpy as np
import pytest

from paramserver.store import NewVariable, Selection, Store, Update
from paramserver.store import errors as e
from paramserver.store.updates import DENSE
from paramserver_wire.dtypes import dtype_named
from support.stores import seeded_store


@pytest.fixture
def store() -> Store:
    store = seeded_store()
    store.create(NewVariable("w", value=np.array([1, 2, 3], np.float32)))
    store.create(NewVariable("b", shape=[2], initializer={"type": "zeros"}))
    return store


def state(store: Store) -> object:
    cut = store.snapshot(with_requests=True)
    return (
        cut.commit,
        {
            name: (v.tag, v.state.collections, None if v.value is None else v.value.tobytes())
            for name, v in cut.variables.items()
        },
        cut.scopes,
        cut.requests,
        store.budget.used_nbytes,
    )


def test_a_push_of_two_variables_is_one_commit(store: Store) -> None:
    receipt = store.push(
        [Update("w", "assign_add", np.ones(3, np.float32)), Update("b", "assign", np.full(2, 5, np.float32))]
    )
    assert receipt.commit == store.commit == 3
    assert store.get("w").value.tolist() == [2, 3, 4]
    assert store.get("b").value.tolist() == [5, 5]
    assert (store.get("w").version, store.get("b").version) == (2, 1)


def test_updates_of_one_name_apply_in_order_and_each_counts_as_a_write(store: Store) -> None:
    value = np.array([1, 1, 1], np.float32)
    receipt = store.push(
        [Update("w", "assign", value), Update("w", "assign_add", value), Update("w", "assign_sub", value * 3)]
    )
    assert store.get("w").value.tolist() == [-1, -1, -1]
    assert receipt.variables["w"].version == 4
    assert value.tolist() == [1, 1, 1]


def test_an_assign_in_a_push_makes_room_for_an_add_behind_it(store: Store) -> None:
    store.push([Update("b", "assign", np.ones(2, np.float32)), Update("b", "assign_add", np.ones(2, np.float32))])
    assert store.get("b").value.tolist() == [2, 2]


def test_every_difference_is_listed_in_order_and_nothing_changes(store: Store) -> None:
    before = state(store)
    with pytest.raises(e.ShapeMismatch) as caught:
        store.push(
            [
                Update("w", "assign_add", np.ones(4, np.float32)),
                Update("nobody", "assign", np.ones(3, np.float32)),
                Update("w", "assign_add", np.ones(3, np.float64)),
                Update("b", "assign_add", np.ones(2, np.float32)),
                Update("w", "assign", np.array([1, np.nan, 2], np.float32)),
                Update("w", "multiply", np.ones(3, np.float32)),
                Update("w", "assign", np.ones(3, np.float32), if_version="99"),
            ],
            returns=["b", "ghost"],
        )
    assert [(found.name, found.code) for found in caught.value.errors] == [
        ("w", "shape_mismatch"),
        ("nobody", "variable_not_found"),
        ("w", "dtype_mismatch"),
        ("b", "uninitialized"),
        ("w", "non_finite"),
        ("w", "invalid_request"),
        ("w", "version_mismatch"),
        ("ghost", "variable_not_found"),
    ]
    assert state(store) == before


@pytest.mark.parametrize("op", DENSE)
@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (1, 3), (2,), (3, 0)])
def test_nothing_broadcasts(store: Store, op: str, shape: tuple[int, ...]) -> None:
    before = state(store)
    with pytest.raises(e.ShapeMismatch, match=r"'w'.*\[3\].*got"):
        store.push([Update("w", op, np.zeros(shape, np.float32))])
    assert state(store) == before


def test_published_arrays_are_replaced_and_never_written(store: Store) -> None:
    held = store.get("w").value
    assert held is not None
    given = np.ones(3, np.float32)
    for op in DENSE:
        store.push([Update("w", op, given)])
        given[:] = 77
        assert store.get("w").value.max() < 77
        given[:] = 1
    assert held.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        store.get("w").value[0] = 9


def test_a_donated_array_is_kept_without_a_copy_and_frozen(store: Store) -> None:
    given = np.ones(3, np.float32)
    store.push([Update("w", "assign", given, donated=True)])
    assert np.shares_memory(given, store.get("w").value)
    adding = np.ones(3, np.float32)
    old = store.get("w").value
    store.push([Update("w", "assign_add", adding, donated=True)])
    assert np.shares_memory(adding, store.get("w").value)
    assert old.tolist() == [1, 1, 1]


@pytest.mark.parametrize("tag", ["1", '"1"', "{tag}", '"{tag}"', 'W/"{tag}"'])
def test_if_version_takes_versions_and_tags_with_and_without_quotes(store: Store, tag: str) -> None:
    store.push([Update("w", "assign", np.zeros(3, np.float32), if_version=tag.format(tag=store.get("w").tag))])
    assert store.get("w").version == 2
    with pytest.raises(e.VersionMismatch, match="read it again"):
        store.push([Update("w", "assign", np.ones(3, np.float32), if_version=tag.format(tag=f"{'0' * 16}-2"))])
    assert store.get("w").value.tolist() == [0, 0, 0]


def test_returns_come_from_the_cut_right_behind_the_push(store: Store) -> None:
    store.push([Update("b", "assign", np.ones(2, np.float32))])
    receipt = store.push([Update("w", "assign_add", np.ones(3, np.float32))], returns=["w", "b"])
    assert {name: v.value.tolist() for name, v in receipt.fetched.items()} == {"w": [2, 3, 4], "b": [1, 1]}


def test_a_bool_variable_can_be_assigned_but_not_added_to(store: Store) -> None:
    store.create(NewVariable("flag", value=np.array(True)))
    store.push([Update("flag", "assign", np.array(False))])
    with pytest.raises(e.DtypeMismatch, match="bool"):
        store.push([Update("flag", "assign_add", np.array(True))])
    assert store.get("flag").value == np.array(False)


@pytest.mark.parametrize(
    "dtype", ["bfloat16", "float16", "float32", "float64", "int8", "uint64", "complex64", "complex128"]
)
def test_adding_in_every_kind_of_dtype(dtype: str) -> None:
    kind = dtype_named(dtype)
    store = seeded_store()
    start = (np.arange(200_000) % 61).astype(kind)
    store.create(NewVariable("v", value=start, allow_non_finite=True))
    store.push([Update("v", "assign_add", start)], allow_non_finite=True)
    with np.errstate(all="ignore"):
        wanted = (start.astype(np.float32) * 2).astype(kind) if dtype == "bfloat16" else (start + start).astype(kind)
    assert store.get("v").value.tobytes() == wanted.tobytes()


def test_a_narrower_value_is_widened(store: Store) -> None:
    store.create(NewVariable("wide", value=np.zeros(2, np.float64)))
    store.push(
        [Update("wide", "assign_add", np.ones(2, np.float32)), Update("wide", "assign_add", np.ones(2, np.int16))]
    )
    assert store.get("wide").value.tolist() == [2, 2]
    assert store.get("wide").value.dtype == np.float64


# ---------------------------------------------------------------- creation


def test_creation_reuse_rules(store: Store) -> None:
    before = state(store)
    with pytest.raises(e.VariableExists, match="reuse=auto"):
        store.create(NewVariable("w", shape=[3]))
    with pytest.raises(e.VariableNotFound, match="create it first"):
        store.create(NewVariable("new", shape=[3]), reuse=True)
    with pytest.raises(e.SpecMismatch, match=r"shape \[4\].*and dtype float64"):
        store.create(NewVariable("w", shape=[4], dtype="float64"), reuse=None)
    found, created = store.create(NewVariable("w", shape=[3], dtype="float32"), reuse=True)
    assert (found.tag, created) == (store.get("w").tag, False)
    assert state(store) == before


def test_reuse_with_initialize_gives_a_value_only_to_one_without(store: Store) -> None:
    store.create(NewVariable("b", shape=[2]), reuse=None, initialize=True)
    assert store.get("b").value.tolist() == [0, 0]
    store.push([Update("b", "assign", np.ones(2, np.float32))])
    store.create(NewVariable("b", shape=[2]), reuse=None, initialize=True)
    assert store.get("b").value.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("new", "error", "words"),
    [
        (NewVariable("../x", shape=[1]), e.InvalidName, "not allowed"),
        (NewVariable("a//b", shape=[1]), e.InvalidName, "not allowed"),
        (NewVariable("a:0", shape=[1]), e.InvalidName, "not allowed"),
        (NewVariable("x" * 300, shape=[1]), e.InvalidName, "300"),
        (NewVariable("n", shape=[-1]), e.ShapeMismatch, "0 or more"),
        (NewVariable("n", shape=[2**32, 2**32]), e.ShapeMismatch, r"2\*\*63"),
        (NewVariable("n", shape=[2**32, 2**32, 0]), e.ShapeMismatch, r"2\*\*63"),
        (NewVariable("n", shape=[1] * 9), e.ShapeMismatch, "8 axes"),
        (NewVariable("n", shape=[1], dtype="float31"), e.DtypeMismatch, "float31"),
        (NewVariable("n", shape=[1], dtype="complex64"), e.InvalidRequest, "initializer"),
        (NewVariable("n"), e.InvalidRequest, "shape"),
        (NewVariable("n", shape=[2], initializer={"type": "zeroes"}), e.InvalidRequest, "zeroes"),
        (NewVariable("n", shape=[2], initializer={"type": "zeros"}, value=np.ones(2)), e.InvalidRequest, "one of them"),
        (NewVariable("n", shape=[2], value=np.ones(3)), e.ShapeMismatch, r"\[2\].*\[3\]"),
        (NewVariable("n", dtype="float32", value=np.ones(3)), e.DtypeMismatch, "float64"),
        (NewVariable("n", value=np.array([np.inf])), e.NonFinite, "finite"),
        (NewVariable("n", initializer={"type": "zeros_like", "like": "ghost"}), e.VariableNotFound, "ghost"),
        (NewVariable("n", shape=[1], collections=["a//b"]), e.InvalidName, "collection"),
    ],
)
def test_refused_creations(store: Store, new: NewVariable, error: type[Exception], words: str) -> None:
    before = state(store)
    with pytest.raises(error, match=words):
        store.create(new)
    assert state(store) == before


def test_scope_defaults_the_nearest_wins_and_an_explicit_word_wins_over_all(store: Store) -> None:
    store.set_scope("net", {"dtype": "float64", "trainable": False, "initializer": {"type": "ones"}})
    store.set_scope("net/deep", {"initializer": {"type": "constant", "value": 3}})
    store.create(NewVariable("net/deep/v", shape=[2]), initialize=True)
    store.create(NewVariable("net/v", shape=[2], dtype="float32", trainable=True), initialize=True)
    store.create(NewVariable("network/v", shape=[2]), initialize=True)
    deep, near, other = store.get("net/deep/v"), store.get("net/v"), store.get("network/v")
    assert (deep.value.tolist(), deep.dtype, deep.state.trainable) == ([3, 3], np.float64, False)
    assert (near.value.tolist(), near.dtype, near.state.trainable) == ([1, 1], np.float32, True)
    assert other.state.initializer["type"] == "glorot_uniform"
    store.delete_scope("net/deep")
    assert list(store.scopes()) == ["net"]
    with pytest.raises(e.ScopeNotFound):
        store.delete_scope("net/deep")


@pytest.mark.parametrize(
    "defaults", [{"shape": [1]}, {"dtype": "f"}, {"initializer": {"type": "none"}}, {"collections": ["a:"]}]
)
def test_refused_scope_defaults(store: Store, defaults: dict[str, object]) -> None:
    with pytest.raises(e.StoreError, match=r"^(scope|collection of) 's'"):
        store.set_scope("s", defaults)
    assert store.scopes() == {}


# ---------------------------------------------------------------- collections


def test_collections_follow_trainable(store: Store) -> None:
    assert store.get("w").state.collections == ("variables", "trainable_variables")
    store.change("w", trainable=False)
    assert store.get("w").state.collections == ("variables",)
    store.change("w", collections=["mine", "global_variables"])
    assert store.get("w").state.collections == ("mine", "variables")
    store.change("w", collections=["mine", "trainable_variables"])
    assert (store.get("w").state.trainable, store.get("w").version) == (True, 1)
    assert store.collections() == {"variables": 1, "trainable_variables": 2, "mine": 1}


def test_a_collection_keeps_the_order_of_entry(store: Store) -> None:
    for name in ("z", "a", "m"):
        store.create(NewVariable(name, shape=[], collections=["own"]))
    store.change("z", collections=["own", "more"])
    assert list(store.snapshot(Selection(collection="own")).variables) == ["z", "a", "m"]
    assert list(store.snapshot(Selection(collection="own", prefix="m")).variables) == ["m"]
    with pytest.raises(e.CollectionNotFound):
        store.snapshot(Selection(collection="nope"))
    assert store.snapshot(Selection(collection="moving_average_variables")).variables == {}


def test_local_variables_are_left_out_unless_asked_for(store: Store) -> None:
    store.create(NewVariable("local", shape=[1], collections=["local_variables"]))
    receipt, skipped, _ = store.initialize(Selection(skip_local=True))
    assert list(receipt.variables) == ["b"]
    assert skipped == ["w"]
    receipt, _, _ = store.initialize(Selection(collection="local_variables", skip_local=True))
    assert list(receipt.variables) == ["local"]


def test_prefix_matches_whole_segments(store: Store) -> None:
    for name in ("conv1", "conv1/w", "conv1/b/x", "conv1-b", "conv10", "conv1.c"):
        store.create(NewVariable(name, shape=[]))
    assert store.names("conv1") == ["conv1", "conv1/b/x", "conv1/w"]
    assert store.names() == sorted(store.names())


@pytest.mark.parametrize("prefix", ["", "a", "a/b", "none"])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_one_after_the_other_are_the_scope(store: Store, prefix: str, limit: int) -> None:
    for name in ("a", "a/b", "a/b/c", "a/b/d", "a/c", "a-b", "a0", "c"):
        store.create(NewVariable(name, shape=[]))
    seen: list[str] = []
    while page := store.page(prefix, seen[-1] if seen else "", limit):
        assert len(page) <= limit
        seen += [variable.name for variable in page]
    assert seen == store.names(prefix)


@pytest.mark.parametrize(
    ("after", "names"), [("a", ["a/x", "b", "w"]), ("a/a", ["a/x", "b", "w"]), ("w", []), ("zz", [])]
)
def test_a_page_begins_behind_a_name_whether_or_not_it_is_there(store: Store, after: str, names: list[str]) -> None:
    for name in ("a", "a/x"):
        store.create(NewVariable(name, shape=[]))
    assert [variable.name for variable in store.page("", after, 10)] == names


# ---------------------------------------------------------------- initialization


def test_initialize_draws_one_seed_and_any_order_gives_the_same_values() -> None:
    values = []
    for names in (["a", "b"], ["b", "a"]):
        store = seeded_store()
        for name in names:
            store.create(NewVariable(name, shape=[4], initializer={"type": "random_normal"}))
        store.initialize(Selection(names=names), seed=7)
        values.append({name: store.get(name).value.tolist() for name in ("a", "b")})
    assert values[0] == values[1]
    assert values[0]["a"] != values[0]["b"]


def test_a_seed_in_the_request_wins_over_the_specs(store: Store) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        store.create(NewVariable(name, shape=[4], initializer={"type": "random_uniform", "seed": seed}))
    _, _, drawn = store.initialize(Selection(names=["one"]))
    own = store.get("one").value.tolist()
    _, _, again = store.initialize(Selection(names=["one"]), seed=2, only_uninitialized=False)
    assert (drawn, again) == (None, None)
    assert store.get("one").value.tolist() != own
    store.initialize(Selection(names=["one"]), only_uninitialized=False)
    assert store.get("one").value.tolist() == own


def test_initialize_does_not_wipe_trained_values_unless_told(store: Store) -> None:
    store.push([Update("b", "assign", np.ones(2, np.float32))])
    _, skipped, _ = store.initialize(Selection())
    assert skipped == ["b", "w"]
    assert store.get("b").value.tolist() == [1, 1]
    store.initialize(Selection(), only_uninitialized=False)
    assert store.get("b").value.tolist() == [0, 0]
    with pytest.raises(e.NoInitializer, match="assign a value"):
        store.initialize(Selection(names=["w"]), skip_without_initializer=False)


# ---------------------------------------------------------------- deletion, memory, locks


def test_a_deleted_variable_comes_back_with_another_incarnation(store: Store) -> None:
    first = store.get("w")
    store.delete(Selection(names=["w"]))
    with pytest.raises(e.VariableNotFound):
        store.get("w")
    store.create(NewVariable("w", value=np.zeros(3, np.float32)))
    assert store.get("w").incarnation != first.incarnation
    assert first.value.tolist() == [1, 2, 3]


def test_deleting_by_prefix_is_one_commit(store: Store) -> None:
    commit = store.commit
    receipt = store.delete(Selection())
    assert (store.commit, sorted(receipt.variables)) == (commit + 1, ["b", "w"])
    assert (store.names(), store.collections(), store.budget.used_nbytes) == ([], {}, 0)


def test_the_memory_budget_refuses_before_memory_is_taken() -> None:
    store = seeded_store(memory_limit_nbytes=1000)
    store.create(NewVariable("w", value=np.zeros(100, np.float32)))
    before = state(store)
    with pytest.raises(e.MemoryLimitExceeded, match="memory limit"):
        store.create(NewVariable("big", value=np.zeros(200, np.float32)))
    assert state(store) == before
    store.push([Update("w", "assign", np.ones(100, np.float32))])
    assert store.budget.used_nbytes == 400


def test_a_taken_lock_raises_would_block_and_changes_nothing(store: Store) -> None:
    before = state(store)
    with store._commits.writing(["w"], blocking=True):
        with pytest.raises(e.WouldBlock):
            store.push(
                [Update("b", "assign", np.ones(2, np.float32)), Update("w", "assign", np.ones(3, np.float32))],
                blocking=False,
            )
        store.push([Update("b", "assign", np.ones(2, np.float32))], blocking=False)
        store.push([Update("w", "assign", np.ones(3, np.float32))], use_locking=False, blocking=False)
    assert store.get("w").value.tolist() == [1, 1, 1]
    assert state(store) != before


def test_watchers_hear_of_writes_and_deletions_until_they_cancel(store: Store) -> None:
    heard: list[int] = []
    cancel = store.watch("w", lambda: heard.append(store.commit))
    store.push([Update("w", "assign", np.ones(3, np.float32))])
    store.push([Update("b", "assign", np.ones(2, np.float32))])
    store.delete(Selection(names=["w"]))
    assert heard == [3, 5]
    cancel()
    store.create(NewVariable("w", shape=[]))
    assert heard == [3, 5]


def test_loading_a_snapshot_brings_everything_back_under_new_incarnations(store: Store) -> None:
    store.set_scope("s", {"dtype": "float64"})
    cut = store.snapshot(with_requests=True)
    other = seeded_store(seed=1)
    other.load(cut)
    other.renew_incarnations()
    assert other.commit == store.commit
    assert other.get("w").version == 1
    assert other.get("w").incarnation != store.get("w").incarnation
    assert (other.collections(), other.scopes()) == (store.collections(), store.scopes())
    other.push([Update("w", "assign_add", np.ones(3, np.float32))])
    assert other.commit == store.commit + 1
    proven = seeded_store(seed=2)
    proven.load(cut)
    assert proven.get("w").tag == store.get("w").tag
