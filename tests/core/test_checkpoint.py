"""The binary format of a checkpoint: arrays as bytes and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg_core.checkpoint import pack, unpack
from talweg_core.errors import InvalidCheckpoint

FACTS = {"step": 3, "stop_reason": None}
ARRAYS = {"parameters": np.arange(6, dtype=np.float32).reshape(2, 3), "m": np.array(2.5), "on": np.array([True])}


def test_a_checkpoint_comes_back_as_it_was() -> None:
    facts, arrays = unpack(pack(FACTS, ARRAYS))
    assert facts == FACTS
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array)


def test_equal_content_gives_equal_bytes() -> None:
    assert pack(FACTS, ARRAYS) == pack(dict(reversed(FACTS.items())), ARRAYS)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(InvalidCheckpoint):
        unpack(payload)


@given(st.data())
def test_a_shortened_checkpoint_is_refused(data: st.DataObject) -> None:
    payload = pack(FACTS, ARRAYS)
    with pytest.raises(InvalidCheckpoint):
        unpack(payload[: data.draw(st.integers(0, len(payload) - 1))])


@given(st.data())
def test_a_changed_header_is_refused_or_gives_arrays(data: st.DataObject) -> None:
    payload = bytearray(pack(FACTS, ARRAYS))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] ^= data.draw(st.integers(1, 255))
    try:
        unpack(bytes(payload))
    except InvalidCheckpoint:
        return
    # Changes that are not detected here are detected by the digest in the database.


def test_a_header_that_asks_for_too_much_is_refused_before_anything_is_allocated() -> None:
    payload = pack({}, {"x": np.zeros(1)}).replace(b"[1]", b"[9]")
    with pytest.raises(InvalidCheckpoint, match="needs 72 bytes"):
        unpack(payload)
