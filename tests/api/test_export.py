"""imgreg export: each format answers in its own runtime as imgreg does, or nothing is written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import ExifTags, Image
from platformdirs import user_cache_dir

from conftest import NEEDS_CHROMIUM, Trained, imgreg, paint
from imgreg.api.classifier import load_classifier
from imgreg.api.export import FORMATS, _photos, export_run
from imgreg.api.predict import predict
from imgreg.errors import ArtefactError, UsageError
from imgreg.export import onnx_file
from imgreg.export.source import Dtype, Source
from imgreg.heads.store import load_card
from imgreg.runs.folder import read_run

pytest.importorskip("onnxruntime", reason="imgreg[export] is not installed")
pytest.importorskip("ai_edge_litert", reason="imgreg[export] is not installed")


@pytest.fixture(scope="module")
def exports(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in all formats."""
    out = tmp_path_factory.mktemp("exports")
    export_run(trained.folder, to=list(FORMATS), out=out)
    return out


def test_every_format_is_there_with_its_parity(exports: Path) -> None:
    """Models, labels and a record of the comparison, on the run's own photos; no temporary file is left."""
    assert {path.name for path in exports.iterdir()} == {*FORMATS, ".locks"}
    for name in FORMATS:
        parity = json.loads((exports / name / "parity.json").read_text())
        assert parity["max_difference"] <= 1e-4
        assert parity["n_photos"] > 0
        assert all((exports / name / file).is_file() for file in parity["sha256"])
        assert (exports / name / "labels.txt").read_text().split() == ["cold", "warm"]


def test_metadata_is_inside(exports: Path) -> None:
    """ONNX, OpenVINO and LiteRT carry the classes in the model's own file."""
    import onnxruntime
    from tensorflow.lite.tools import flatbuffer_utils

    from imgreg.lazy_imports import load_openvino

    session = onnxruntime.InferenceSession(exports / "onnx" / "model.onnx")
    assert session.get_modelmeta().custom_metadata_map["classes"] == '["cold", "warm"]'
    model = load_openvino().Core().read_model(exports / "openvino" / "model.xml")
    assert model.get_rt_info(["imgreg", "classes"]).astype(str) == '["cold", "warm"]'
    with zipfile.ZipFile(exports / "litert" / "model.tflite") as attached:
        assert attached.read("labels.txt") == b"cold\nwarm\n"
        assert json.loads(attached.read("metadata.json"))["input"] == "uint8 RGB, NHWC, not preprocessed"
    read = flatbuffer_utils.read_model(str(exports / "litert" / "model.tflite"))
    (place,) = [one.buffer for one in read.metadata if one.name == b"TFLITE_METADATA"]
    assert read.buffers[place].data[4:8].tobytes() == b"M001"


def test_float16_is_half_the_size(exports: Path, trained: Trained, tmp_path: Path) -> None:
    """The formats that can store it hold within its tolerance."""
    for one in export_run(trained.folder, to=["litert", "openvino"], out=tmp_path, dtype="float16"):
        whole = sum(path.stat().st_size for path in (exports / one.format).iterdir() if path.suffix != ".json")
        assert one.n_bytes < 0.52 * whole


def test_a_model_that_answers_otherwise_is_not_kept(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer whose weights are wrong fails the comparison, and nothing of the model stays."""
    write = onnx_file.write

    def broken(source: Source, folder: Path, *, dtype: Dtype) -> None:
        (head,) = source.saved.heads
        ones = {name: array * 0 + 1 for name, array in head.items()}
        write(replace(source, saved=replace(source.saved, heads=(ones,))), folder, dtype=dtype)

    monkeypatch.setattr(onnx_file, "write", broken)
    with pytest.raises(ArtefactError, match="Nothing was written"):
        export_run(trained.folder, to=["onnx"], out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]  # what keeps two writers apart


def test_earlier_exports_are_replaced_only_when_asked(exports: Path, trained: Trained, tmp_path: Path) -> None:
    """The command refuses a folder that exists, and --force replaces it."""
    shutil.copytree(exports / "onnx", tmp_path / "onnx")
    (tmp_path / "onnx" / "old").touch()
    with pytest.raises(UsageError, match="--force"):
        export_run(trained.folder, to=["onnx"], out=tmp_path)
    done = imgreg("export", trained.folder, "--to", "onnx", "--out", tmp_path, "--force", "--json")
    assert done.code == 0, done.err
    assert done.json["exports"][0]["format"] == "onnx"
    assert not (tmp_path / "onnx" / "old").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"onnx", ".locks"}  # the replaced one is gone


def test_photos_are_found_beside_a_manifest_too(trained: Trained) -> None:
    """A run of a CSV file names its photos from the file's folder; without any place on record there are none."""
    run, card = read_run(trained.folder), load_card(trained.folder)
    manifest = replace(run, environment=dict(run.environment) | {"data": str(trained.data / "list.csv")})
    n_val = sum(row.on("val") for row in run.split)
    assert len(_photos(run, card)) == len(_photos(manifest, card)) == min(n_val, 50)
    assert len(_photos(replace(run, environment={}), card)) == 0


def test_the_photo_folder_is_not_written_to(trained: Trained) -> None:
    """An export among the run's photos is refused before anything is computed."""
    before = sorted(trained.data.rglob("*"))
    with pytest.raises(UsageError, match="never writes to"):
        export_run(trained.folder, to=["keras"], out=trained.data / "exports")
    assert sorted(trained.data.rglob("*")) == before


@pytest.mark.parametrize(
    ("to", "dtype", "words"),
    [("onx", "float32", "Did you mean onnx"), ("keras", "float16", "float32 only")],
)
def test_what_cannot_be_written_is_refused_first(trained: Trained, tmp_path: Path, to, dtype, words) -> None:
    """Before anything is computed."""
    with pytest.raises(UsageError, match=words):
        export_run(trained.folder, to=[to], out=tmp_path, dtype=dtype)


@pytest.mark.parametrize("number", range(3), ids=["onnxruntime", "litert", "openvino"])
def test_the_documented_examples_name_the_class(exports: Path, trained: Trained, tmp_path: Path, number: int) -> None:
    """Each example of docs/export.md, unchanged, gives predict's answer for a photo."""
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "first-try").symlink_to(exports)
    photo = sorted((trained.data / "warm").glob("*.jpg"))[0]
    shutil.copy(photo, tmp_path / "photo.jpg")
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[number]
    code = f"{example}\nprint(label, float(probabilities.max()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    label, probability = done.stdout.split()[-2:]
    (expected,) = predict([photo], classifier=load_classifier([trained.folder], precision="float32"))
    assert label == expected.label
    assert float(probability) == pytest.approx(expected.probability, abs=1e-3)


@NEEDS_CHROMIUM
def test_the_page_for_a_browser_answers_as_predict(browser, exports: Path, trained: Trained, tmp_path: Path) -> None:
    """The example's page, opened as a file, gives predict's probabilities for a JPEG, one turned by EXIF, one with
    transparency and, nearly, one that Pillow decodes at half its size; it tells what it cannot read, and asks nothing
    of the network."""
    script = Path(__file__).parents[2] / "examples" / "browser" / "make_page.py"
    made = subprocess.run(
        [sys.executable, script, exports / "onnx", tmp_path / "page.html", "--cache", user_cache_dir("imgreg-tests")],
        capture_output=True,
        text=True,
        check=False,
    )
    if "cannot be downloaded" in made.stderr:
        pytest.skip("onnxruntime-web cannot be downloaded from the npm registry")
    assert made.returncode == 0, made.stderr
    photos = [tmp_path / name for name in ("plain.jpg", "turned.jpg", "see-through.png", "large.jpg")]
    shutil.copy(trained.data / "warm" / "w00.jpg", photos[0])
    with Image.open(trained.data / "cold" / "c00.jpg") as image:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        image.save(photos[1], exif=exif, quality=95)
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(photos[2])
    paint(photos[3], warm=True, seed=3, size=(130, 130))
    (tmp_path / "text.txt").write_text("no photo")
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    page.locator("#state", has_text="Ready.").wait_for(timeout=60_000)
    page.locator("#files").set_input_files([*photos, tmp_path / "text.txt"])
    page.locator("li").nth(4).wait_for(timeout=60_000)
    assert page.locator("li").nth(0).inner_text().startswith("text.txt: ")
    found = [
        json.loads(row.get_attribute("data-probabilities")) for row in page.locator("li[data-probabilities]").all()
    ]
    expected = predict(photos, classifier=load_classifier([trained.folder], precision="float32"))
    for answer, one in zip(reversed(found), expected, strict=True):  # the newest stands first
        assert answer == pytest.approx(list(one.probabilities.values()), abs=5e-3 if one.path == photos[3] else 1e-3), (
            one.path
        )
    assert [url for url in asked if not url.startswith("blob:")] == [(tmp_path / "page.html").as_uri()]
    page.close()
