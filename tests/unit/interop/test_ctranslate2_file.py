import struct

import numpy as np
import pytest

from talkface_jax.errors import WeightsError
from talkface_jax.interop.ctranslate2_file import read_arrays

ARRAYS = {
    "encoder/weight": np.arange(6, dtype=np.float16).reshape(2, 3),
    "encoder/scale": np.float32(0.5),
    "encoder/bytes": np.array([-1, 2], np.int8),
    "decoder/weight": np.ones((4, 1), np.float32),
}
CODES = {"float32": 0, "int8": 1, "float16": 4}


def text(value):
    encoded = value.encode() + b"\0"
    return struct.pack("<H", len(encoded)) + encoded


def model(version=6, kind="WhisperSpec", code=None, size=None):
    parts = [struct.pack("<I", version), text(kind), struct.pack("<II", 3, len(ARRAYS))]
    for name, values in ARRAYS.items():
        array = np.asarray(values)
        number = CODES[str(array.dtype)] if code is None else code
        parts += [
            text(name),
            struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape),
            struct.pack("<BI", number, array.nbytes if size is None else size),
            array.tobytes(),
        ]
    return b"".join([*parts, struct.pack("<I", 0)])


def read(data):
    return read_arrays(
        data,
        specification="WhisperSpec",
        wanted=lambda name: name.startswith("encoder/"),
        source="model.bin",
    )


def test_wanted_arrays_come_as_stored():
    arrays = read(model())
    assert set(arrays) == {"encoder/weight", "encoder/scale", "encoder/bytes"}
    for name, array in arrays.items():
        assert array.dtype == np.asarray(ARRAYS[name]).dtype
        np.testing.assert_array_equal(array, ARRAYS[name])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (model(version=5), "format version 6"),
        (model(kind="TransformerSpec"), "'TransformerSpec', not 'WhisperSpec'"),
        (model(code=77), "is damaged"),
        (model(size=2**31), "is damaged"),
        (model()[:-40], "is cut off at byte"),
        (b"", "is cut off at byte 0"),
    ],
)
def test_other_and_damaged_files_are_refused(data, message):
    with pytest.raises(WeightsError, match=f"model.bin.*{message}"):
        read(data)


@pytest.mark.parametrize("length", range(0, len(model()) - 4, 7))
def test_no_beginning_of_a_file_passes(length):
    with pytest.raises(WeightsError):
        read(model()[:length])
