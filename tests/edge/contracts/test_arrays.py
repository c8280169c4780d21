"""Array containers: what goes in comes out, the same arrays give the same bytes, and junk is refused."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.contracts.arrays import DTYPES, ArrayLimits, pack_arrays, unpack_arrays
from edge.contracts.errors import SchemaError
from edge.contracts.golden import GoldenFrame, largest_error, pack_golden, unpack_golden

names = st.from_regex(r"\A[A-Za-z0-9_./-]{1,20}\Z")
arrays = hnp.arrays(
    dtype=st.sampled_from([np.dtype(name) for name in DTYPES]),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@given(st.dictionaries(names, arrays, max_size=5))
def test_arrays_come_back_bit_for_bit(held):
    found = unpack_arrays(pack_arrays(held))
    assert found.keys() == held.keys()
    for name, array in held.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


@given(st.dictionaries(names, arrays, max_size=5))
def test_order_of_insertion_does_not_show(held):
    assert pack_arrays(held) == pack_arrays(dict(reversed(held.items())))


@given(st.binary(max_size=200))
def test_junk_is_refused_and_never_anything_worse(junk):
    try:
        unpack_arrays(junk)
    except SchemaError:
        return
    raise AssertionError("junk was taken for a container")


@given(st.integers(0, 10_000))
def test_truncated_container_is_refused(cut):
    whole = pack_arrays({"a": np.arange(100, dtype=np.int32)})
    with pytest.raises(SchemaError):
        unpack_arrays(whole[: cut % len(whole)])


def test_views_in_any_memory_order_are_packed_by_value():
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert np.array_equal(unpack_arrays(pack_arrays({"a": transposed}))["a"], transposed)


def test_big_endian_array_comes_back_with_its_values():
    found = unpack_arrays(pack_arrays({"a": np.array([1, 2], ">i4")}))["a"]
    assert found.tolist() == [1, 2] and found.dtype == np.int32


def test_unpacked_array_can_be_written():
    found = unpack_arrays(pack_arrays({"a": np.zeros(2, np.float32)}))["a"]
    found[0] = 1


@pytest.mark.parametrize("dtype", [object, np.float64, np.complex64, "U3"])
def test_other_dtypes_are_not_packed(dtype):
    with pytest.raises(SchemaError, match="dtype"):
        pack_arrays({"a": np.zeros(1, dtype)})


def container(**changes):
    array = {"dtype": "float32", "shape": [2], "data": bytes(8)} | changes
    return msgspec.msgpack.encode({"schema": 1, "arrays": {"a": array}})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"dtype": "object"}, "dtype"),
        ({"dtype": ">f4"}, "dtype"),
        ({"shape": [3]}, "needs 12 bytes"),
        ({"shape": [-2]}, "not an array container"),
        ({"shape": [1] * 9}, "not an array container"),
        ({"shape": [2**31, 2**31]}, "needs"),
        ({"data": bytes(7)}, "got 7"),
    ],
)
def test_array_that_does_not_fill_its_shape_is_refused(changes, complaint):
    with pytest.raises(SchemaError, match=complaint):
        unpack_arrays(container(**changes))


def test_limits_are_enforced_before_anything_is_read():
    whole = pack_arrays({"a": np.zeros(100, np.uint8), "b": np.zeros(1, np.uint8)})
    with pytest.raises(SchemaError, match="at most 50"):
        unpack_arrays(whole, ArrayLimits(max_bytes=50))
    with pytest.raises(SchemaError, match="2 arrays, at most 1"):
        unpack_arrays(whole, ArrayLimits(max_arrays=1))


def test_container_of_a_newer_schema_is_refused():
    with pytest.raises(SchemaError, match="schema 2, expected 1"):
        unpack_arrays(msgspec.msgpack.encode({"schema": 2, "arrays": {}}))


def frame(value, graph="full"):
    return GoldenFrame(
        {"asked": np.array([value], np.float32)}, {"answer": np.array([value], np.float32)}, graph
    )


def test_golden_frames_come_back_in_their_order():
    values = list(range(12))
    found = unpack_golden(pack_golden(frame(v) for v in values))
    assert [f.inputs["asked"][0] for f in found] == values


def test_golden_frames_keep_the_graph_they_ask():
    found = unpack_golden(pack_golden([frame(1.0), frame(2.0, "small")]))
    assert [f.graph for f in found] == ["full", "small"]


@pytest.mark.parametrize("name", ["0000/full/in", "0000/full/maybe/asked", "asked", "a/b/in/c/d"])
def test_container_that_is_no_golden_set_is_refused(name):
    with pytest.raises(SchemaError, match="golden set holds"):
        unpack_golden(pack_arrays({name: np.zeros(1, np.float32)}))


@pytest.mark.parametrize("side", ["in", "out"])
def test_golden_frame_without_question_or_answer_is_refused(side):
    with pytest.raises(SchemaError, match="no inputs or no outputs"):
        unpack_golden(pack_arrays({f"0000/full/{side}/a": np.zeros(1, np.float32)}))
    with pytest.raises(SchemaError, match="not packed"):
        pack_golden([GoldenFrame({}, {"a": np.zeros(1, np.float32)})])


def test_error_is_relative_to_the_range_of_the_golden_output():
    golden = np.array([-10.0, 10.0], np.float32)
    assert largest_error(np.array([-10.0, 12.0], np.float32), golden) == pytest.approx(0.1)


def test_error_of_a_constant_output_is_absolute():
    golden = np.full(3, 5.0, np.float32)
    assert largest_error(golden + 0.25, golden) == pytest.approx(0.25)


def test_error_with_nan_is_nan_and_so_within_no_tolerance():
    golden = np.array([0.0, 1.0], np.float32)
    assert not largest_error(np.array([np.nan, 1.0], np.float32), golden) <= 1e9
