"""Encoding and decoding, bit for bit; and damaged payloads."""

import hashlib

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from talweg.errors import CorruptRecord
from talweg.store.codec import decode, encode

_shapes = st.tuples(st.integers(0, 70), st.integers(0, 40))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([np.float32, np.float64]).flatmap(
        lambda dtype: arrays.arrays(dtype, _shapes, elements={"allow_nan": True, "allow_subnormal": True})
    )
)
def test_what_goes_in_comes_out_bit_for_bit(array: np.ndarray[tuple[int, int], np.dtype[np.floating]]) -> None:
    payload, digest = encode(array)
    back = decode(payload, digest, array.dtype, array.shape)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert back.flags.c_contiguous


@pytest.mark.parametrize("rows", [slice(5, 6), slice(0, 9), slice(60, 90), slice(7, 7), slice(None)])
def test_some_rows_are_those_of_the_whole(rows: slice) -> None:
    array = np.random.default_rng(3).standard_normal((64, 9))
    back = decode(*encode(array), np.float64, (64, 9), rows)
    assert back.tobytes() == array[rows].tobytes()
    assert back.shape == array[rows].shape


def test_every_kind_of_number_survives() -> None:
    bits = np.array([0x7FC00001, 0xFFC12345, 0x7F800001, 0x80000000, 0x00000001, 0x7F800000], dtype=np.uint32)
    array = bits.view(np.float32).reshape(2, 3)
    back = decode(*encode(array), np.float32, (2, 3))
    assert back.view(np.uint32).tolist() == bits.reshape(2, 3).tolist()


def test_strides_do_not_change_the_bytes() -> None:
    wide = np.random.default_rng(0).standard_normal((128, 3, 40))
    assert encode(wide[::2, 1]) == encode(wide[::2, 1].copy()) == encode(np.asfortranarray(wide[::2, 1]))


def test_big_endian_arrays_are_stored_little() -> None:
    array = np.arange(12.0).reshape(3, 4)
    assert encode(array.astype(">f8")) == encode(array.astype("<f8"))


def test_the_digest_is_of_what_is_stored() -> None:
    payload, digest = encode(np.ones((2, 2)))
    assert digest == hashlib.sha256(payload).hexdigest()


def test_any_flipped_bit_is_found() -> None:
    array = np.random.default_rng(1).standard_normal((64, 9)).astype(np.float32)
    payload, digest = encode(array)
    for position in range(len(payload)):
        damaged = bytearray(payload)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(CorruptRecord, match="digest"):
            decode(bytes(damaged), digest, np.float32, (64, 9))


@pytest.mark.parametrize("shape", [(3, 4), (64, 8), (1, 2**40)])
def test_another_shape_is_refused_before_anything_is_allocated(shape: tuple[int, int]) -> None:
    payload, digest = encode(np.zeros((64, 9), dtype=np.float32))
    with pytest.raises(CorruptRecord, match="must hold"):
        decode(payload, digest, np.float32, shape)


def test_a_frame_that_claims_too_much_is_refused() -> None:
    payload = zstandard.ZstdCompressor().compress(bytes(2**24))
    with pytest.raises(CorruptRecord, match="must hold 8 bytes"):
        decode(payload, hashlib.sha256(payload).hexdigest(), np.float64, (1, 1))


@pytest.mark.parametrize("payload", [b"", b"no zstd at all", encode(np.ones((9, 9)))[0][:-4]])
def test_what_is_no_frame_is_refused(payload: bytes) -> None:
    with pytest.raises(CorruptRecord):
        decode(payload, hashlib.sha256(payload).hexdigest(), np.float64, (9, 9))


def test_gradients_of_a_real_size_shrink() -> None:
    walk = np.random.default_rng(2).standard_normal((64, 4810)).cumsum(axis=0)
    payload, _ = encode(walk)
    assert len(payload) < 0.95 * walk.nbytes
