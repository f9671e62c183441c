"""TensorFlow Lite's metadata: what Android and MediaPipe read in a .tflite of its input, its output and its labels.

In: a model's bytes, and what is said of it. Out: the same model with the table in it. Must not know: runs. The table
is written field by field, as the schema numbers them: tflite-support, the library for it, is unmaintained, and
MediaPipe's comes with 600 MB of other packages.

References
----------
https://github.com/google-ai-edge/mediapipe, mediapipe/tasks/metadata/metadata_schema.fbs
"""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
from flatbuffers import number_types

NAME = "TFLITE_METADATA"
_IMAGE, _FEATURE = 2, 1  # ContentProperties
_NORMALIZATION = 1  # ProcessUnitOptions
_RGB = 1  # ColorSpaceType
_AXIS_LABELS = 2  # AssociatedFileType

_Field = tuple[int, str, int]  # number in the schema, type, value or offset


def with_metadata(model: bytes, metadata: bytes) -> bytes:
    """Put the table into the model, which keeps its operators and weights."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    tree = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    tree.buffers.append(schema.BufferT(data=np.frombuffer(metadata, np.uint8)))
    tree.metadata = [*(tree.metadata or ()), schema.MetadataT(name=NAME, buffer=len(tree.buffers) - 1)]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def classifier_metadata(*, name: str, description: str, version: str, image_size: int, labels_file: str) -> bytes:
    """The table of an image classifier: one RGB image of uint8 in, the probabilities of its classes out.

    Parameters
    ----------
    image_size : int
        Width and height, in pixels.
    labels_file : str
        Name of the attached file that holds the class names, a line each, in the order of the probabilities.
    """
    b = flatbuffers.Builder(1024)
    size = _table(b, (0, "Uint32", image_size), (1, "Uint32", image_size))
    properties = _table(b, (0, "Int8", _RGB), (1, "UOffsetTRelative", size))
    unchanged = _table(b, (0, "UOffsetTRelative", _floats(b, [0.0])), (1, "UOffsetTRelative", _floats(b, [1.0])))
    unit = _table(b, (0, "Uint8", _NORMALIZATION), (1, "UOffsetTRelative", unchanged))
    photo = _tensor(
        b,
        name="photos",
        description="A photo, turned upright and squeezed to the image size: bilinear, with antialiasing.",
        content=_table(b, (0, "Uint8", _IMAGE), (1, "UOffsetTRelative", properties)),
        range_=(0.0, 255.0),
        more=[(4, "UOffsetTRelative", _tables(b, [unit]))],
    )
    labels = [(0, "UOffsetTRelative", b.CreateString(labels_file)), (2, "Int8", _AXIS_LABELS)]
    answer = _tensor(
        b,
        name="probabilities",
        description="The calibrated probability of each class.",
        content=_table(b, (0, "Uint8", _FEATURE), (1, "UOffsetTRelative", _table(b))),
        range_=(0.0, 1.0),
        more=[(6, "UOffsetTRelative", _tables(b, [_table(b, *labels)]))],
    )
    graph = _table(b, (2, "UOffsetTRelative", _tables(b, [photo])), (3, "UOffsetTRelative", _tables(b, [answer])))
    texts = {0: name, 1: description, 2: version, 7: "1.0.0"}  # 7: the oldest parser that reads it
    fields = [(number, "UOffsetTRelative", b.CreateString(text)) for number, text in texts.items() if text]
    b.Finish(_table(b, (3, "UOffsetTRelative", _tables(b, [graph])), *fields), b"M001")
    return bytes(b.Output())


def _tensor(
    b: flatbuffers.Builder,
    *,
    name: str,
    description: str,
    content: int,
    range_: tuple[float, float],
    more: Sequence[_Field],
) -> int:
    low, high = range_
    stats = _table(b, (0, "UOffsetTRelative", _floats(b, [high])), (1, "UOffsetTRelative", _floats(b, [low])))
    texts = [(0, "UOffsetTRelative", b.CreateString(name)), (1, "UOffsetTRelative", b.CreateString(description))]
    return _table(b, *texts, (3, "UOffsetTRelative", content), *more, (5, "UOffsetTRelative", stats))


def _table(b: flatbuffers.Builder, *fields: _Field) -> int:
    """A table of these fields; what they point to is there already."""
    b.StartObject(max((number for number, _, _ in fields), default=-1) + 1)
    for number, kind, value in fields:
        getattr(b, f"Prepend{kind}Slot")(number, value, 0)
    return int(b.EndObject())


def _tables(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    b.StartVector(number_types.UOffsetTFlags.bytewidth, len(offsets), number_types.UOffsetTFlags.bytewidth)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _floats(b: flatbuffers.Builder, values: Sequence[float]) -> int:
    return int(b.CreateNumpyVector(np.array(values, np.float32)))
