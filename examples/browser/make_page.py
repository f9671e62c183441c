"""Make one HTML file of an exported run: it classifies photos in the browser, without a server or a network.

usage: python examples/browser/make_page.py exports/first-try/onnx classifier.html [--cache FOLDER]

The page holds the model, its classes and ONNX Runtime Web, and its Content-Security-Policy forbids every request, so
that no photo leaves the machine. A float16 export gives half the size. ONNX Runtime Web (33 MB, MIT licence) is
downloaded once from the npm registry and checked against the hash below.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import tarfile
import urllib.request
from pathlib import Path

VERSION = "1.30.0"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
TEMPLATE = Path(__file__).with_name("page.html")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make one HTML file of an exported run.")
    parser.add_argument("export", type=Path, help="a folder that `imgreg export --to onnx` wrote")
    parser.add_argument("page", type=Path, help="the HTML file to write")
    parser.add_argument("--cache", type=Path, default=Path(), help="where the download is kept; by default here")
    given = parser.parse_args()
    library, wasm = runtime_files(given.cache / f"onnxruntime-web-{VERSION}.tgz")
    card = json.loads((given.export / "card.json").read_text(encoding="utf-8"))
    card = {name: card[name] for name in ("run", "classes", "image_size")}
    parts = {
        "card": json.dumps(card).replace("<", "\\u003c"),  # no class name ends the script that holds it
        "library": base64.b64encode(library).decode(),
        "wasm": base64.b64encode(gzip.compress(wasm)).decode(),
        "model": base64.b64encode((given.export / "model.onnx").read_bytes()).decode(),
    }
    page = TEMPLATE.read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace(f"{{{{{name}}}}}", text)
    given.page.write_text(page, encoding="utf-8")
    print(f"{given.page}: {given.page.stat().st_size / 1e6:.0f} MB. Open it in a browser.")


def runtime_files(archive: Path) -> tuple[bytes, bytes]:
    """ONNX Runtime Web's JavaScript and WebAssembly, from its archive, which is downloaded where it is missing.

    Raises
    ------
    SystemExit
        If the archive cannot be downloaded, or is another than expected.
    """
    if not archive.is_file():
        try:
            with urllib.request.urlopen(URL, timeout=60) as answer:
                data = answer.read()
        except OSError as error:
            raise SystemExit(f"{URL} cannot be downloaded ({error}). Get it elsewhere, as {archive}.") from error
        archive.parent.mkdir(parents=True, exist_ok=True)
        part = archive.with_name(f"{archive.name}.part")
        part.write_bytes(data)
        part.replace(archive)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{archive} is not onnxruntime-web {VERSION}. Delete it and run this again.")
    with tarfile.open(archive) as files:
        library, wasm = (
            files.extractfile(f"package/dist/{name}")
            for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
        )
        assert library is not None
        assert wasm is not None
        return library.read(), wasm.read()


if __name__ == "__main__":
    main()
