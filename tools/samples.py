"""Make the sample reports in docs/samples from the bundled leaves: one for each question that the README asks.

python tools/samples.py [NAME...]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SAMPLES = {
    "overfitting": ("train", "--recipe", "plain", "--epochs", "60"),
    "good-enough": ("train",),
    "regularization": ("compare",),
    "techniques": ("study", "--repeats", "5", "--epochs", "30"),
    "better-recipe": ("tune", "--trials", "8", "--epochs", "15"),
    "more-photos": ("learning-curve", "--repeats", "5"),
}
SMALL = ("--weights", "starter", "--image-size", "64")


def main(names: list[str]) -> None:
    """Write docs/samples/NAME.html for each of these names, or for all."""
    target = ROOT / "docs" / "samples"
    target.mkdir(exist_ok=True)
    for name in names or SAMPLES:
        command, *options = SAMPLES[name]
        with tempfile.TemporaryDirectory() as folder:
            models = Path(folder) / "models"  # reports name it by its last part
            words = [command, "datasets/leaves", *options, *SMALL, "--name", name, "--models", str(models)]
            subprocess.run([sys.executable, "-m", "imgreg", *words], cwd=ROOT, check=True)
            shutil.copy(models / name / "report.html", target / f"{name}.html")
        print(f"{target / name}.html: {(target / f'{name}.html').stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
