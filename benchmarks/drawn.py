"""The drawn leaves of tools/, for benchmarks, which are run as scripts."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tools"))

from leaves import draw_sample

__all__ = ["draw_sample"]
