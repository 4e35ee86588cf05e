"""What tests of both transports send: numbers of every datatype, and texts."""

import ml_dtypes
import numpy as np

# The method of `types` that takes them, some of them, and what NumPy calls their type.
NUMBERS = {
    "BOOL": ("bool", [[True, False, True]], np.bool_),
    "UINT8": ("uint8", [[0, 1, 255]], np.uint8),
    "UINT16": ("uint16", [[0, 1, 65535]], np.uint16),
    "UINT32": ("uint32", [[0, 1, 4294967295]], np.uint32),
    "UINT64": ("uint64", [[0, 1, 18446744073709551615]], np.uint64),
    "INT8": ("int8", [[-128, 0, 127]], np.int8),
    "INT16": ("int16", [[-32768, 0, 32767]], np.int16),
    "INT32": ("int32", [[-2147483648, 0, 2147483647]], np.int32),
    "INT64": ("int64", [[-9223372036854775808, 0, 9223372036854775807]], np.int64),
    "FP16": ("float16", [[-1.5, 0.0, 65504.0]], np.float16),
    "BF16": ("bfloat16", [[-1.5, 0.0, 3.0e38]], ml_dtypes.bfloat16),
    "FP32": ("float32", [[-1.5, 1e-38, 3.4e38]], np.float32),
    "FP64": ("float64", [[-1.5, 1e-300, 1.7e308]], np.float64),
}


def texts(*texts):
    return np.array(texts, dtype=np.object_)
