"""TensorFlow Lite's metadata is found where its schema says, by flatbuffers alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("flatbuffers", reason="imgreg[export] is not installed")

from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table

from imgreg.export.litert_metadata import classifier_metadata


class Read:
    """A table; its fields by their number in the schema (mediapipe/tasks/metadata/metadata_schema.fbs)."""

    def __init__(self, buffer: bytes, place: int) -> None:
        self.table = Table(buffer, place)

    def place(self, number: int) -> int:
        offset = self.table.Offset(4 + 2 * number)
        assert offset, f"field {number} is not there"
        return offset + self.table.Pos

    def text(self, number: int) -> str:
        return self.table.String(self.place(number)).decode()

    def value(self, number: int, flags: type) -> int:
        return self.table.Get(flags, self.place(number))

    def child(self, number: int) -> Read:
        return Read(self.table.Bytes, self.table.Indirect(self.place(number)))

    def children(self, number: int) -> Iterator[Read]:
        offset = self.table.Offset(4 + 2 * number)
        for i in range(self.table.VectorLen(offset)):
            yield Read(self.table.Bytes, self.table.Indirect(self.table.Vector(offset) + 4 * i))

    def floats(self, number: int) -> list[float]:
        return self.table.GetVectorAsNumpy(number_types.Float32Flags, self.table.Offset(4 + 2 * number)).tolist()


def test_a_reader_finds_input_output_and_labels() -> None:
    """An RGB image of uint8 that is not normalized, its size, and the file that names the classes of the output."""
    made = classifier_metadata(
        name="first", description="Tells a and b apart.", version="1.2", image_size=160, labels_file="labels.txt"
    )
    assert made[4:8] == b"M001"
    model = Read(made, encode.Get(packer.uoffset, made, 0))
    assert (model.text(0), model.text(2), model.text(7)) == ("first", "1.2", "1.0.0")
    (graph,) = model.children(3)
    (photo,), (answer,) = graph.children(2), graph.children(3)
    assert (photo.text(0), answer.text(0)) == ("photos", "probabilities")
    content, unit = photo.child(3), next(photo.children(4))
    assert content.value(0, number_types.Uint8Flags) == 2  # ImageProperties
    assert content.child(1).value(0, number_types.Int8Flags) == 1  # RGB
    size = content.child(1).child(1)
    assert [size.value(i, number_types.Uint32Flags) for i in (0, 1)] == [160, 160]
    assert unit.value(0, number_types.Uint8Flags) == 1  # NormalizationOptions
    assert (unit.child(1).floats(0), unit.child(1).floats(1)) == ([0.0], [1.0])
    assert (photo.child(5).floats(0), photo.child(5).floats(1)) == ([255.0], [0.0])
    (labels,) = answer.children(6)
    assert (labels.text(0), labels.value(2, number_types.Int8Flags)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS
