"""Loading TensorFlow and Keras, once, when a training or an export really needs them."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


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
        import tensorflow  # noqa: F401


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
