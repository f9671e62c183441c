"""Loading TensorFlow, Keras and OpenVINO, once, when they are really needed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def load_keras() -> None:
    """Import TensorFlow and Keras without the start-up notices of their compiled parts.

    TensorFlow 2.21 prints some before it reads TF_CPP_MIN_LOG_LEVEL, straight to the file descriptor. If the import
    fails, everything that was held back is shown.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _stderr_held():
        import keras  # noqa: F401
        import tensorflow
    # Each head of a study is a graph of its own; TensorFlow takes the sixth for a mistake and warns of "retracing".
    tensorflow.get_logger().setLevel("ERROR")


def load_openvino(*, converter: bool = False) -> Any:
    """Import OpenVINO, which then reports nothing to anybody.

    converter   with its model converter, which takes as long to import as all the rest
    """
    # Its telemetry package reports to Google Analytics at import. None makes OpenVINO use its own empty stand-in, and
    # go on without the converter.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    if "openvino" not in sys.modules and not converter:
        sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules["openvino.tools.ovc"]
    import openvino

    if converter and not hasattr(openvino, "convert_model"):
        from openvino.tools.ovc import convert_model

        openvino.convert_model = convert_model
    return openvino


@contextmanager
def _stderr_held() -> Iterator[None]:
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
