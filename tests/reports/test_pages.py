"""The HTML reports: one file, escaped, whole, with the answer first, and its figures beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from imgreg.analysis.baselines import baseline_sentence
from imgreg.analysis.results import comparison_of
from imgreg.reports.comparison import comparison_report
from imgreg.reports.figure import LIGHT, recipe_colours
from imgreg.reports.run import run_report
from imgreg.runs.folder import SkippedRow
from imgreg.runs.summary import Baseline, Difference, NextStep, SanityBaseline, StoppedEarly

EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Tags, attributes and text of a page; the JSON island apart."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.scripts, self._in = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, _tag):
        self._in = ""

    def handle_data(self, data):
        if self._in == "script":
            self.scripts.append(data)
        elif self._in != "style":
            self.texts.append(data)

    @property
    def raw(self):
        """The data in the page; the other script is page.js."""
        return json.loads(self.scripts[0])

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def report(tmp_path):
    def write(run):
        run_report(run, folder=tmp_path, pictures={}, maps={})
        stems = ("calibration", "curves", "precision_recall", "roc")
        figures = [f"{stem}{suffix}" for stem in stems for suffix in (".png", ".svg")]
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["report.html", *figures])
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return write


@pytest.fixture(scope="module")
def standard(tmp_path_factory, make_run, overfitting):
    """A run with 120 skipped files and a note, and the text of its report."""
    skipped = tuple(SkippedRow(f"ants/bad{i}.jpg", "empty file") for i in range(120))
    run = make_run(overfitting, skipped=skipped, weights_note="The bundled starter weights were used.")
    folder = tmp_path_factory.mktemp("standard")
    run_report(run, folder=folder, pictures={}, maps={})
    return run, (folder / "report.html").read_text(encoding="utf-8")


def test_early_stopping_is_told(report, make_run, healthy):
    """A run's report says when and why training stopped early."""
    run = make_run(healthy)
    early = StoppedEarly(epoch=100, max_epochs=300, patience_epochs=7, min_delta=0.0)
    page = report(replace(run, summary=run.summary.model_copy(update={"stopped_early": early})))
    assert "Training stopped early, after epoch 100 of 300: the last 7 epochs did not lower" in page.text
    assert page.raw["summary"]["stopped_early"]["patience_epochs"] == 7


def test_a_cross_validated_run_is_told_as_one(report, make_run, overfitting):
    """Its photos are counted once and called what they are; what its heads learned by heart is shown."""
    run = make_run(overfitting, n_train=0)
    split = tuple(replace(row, split=f"fold-{1 + i % 4}") for i, row in enumerate(run.split))
    own = np.full((100, 80), 0.9, np.float32)
    own[: overfitting.best.epoch, 7] = 0.1
    run = replace(
        run,
        split=split,
        history=replace(overfitting, train_true_class=own),
        summary=run.summary.model_copy(update={"n_folds": 4, "n_train": 80}),
    )
    page = report(run)
    assert "80 photos in 4-fold cross-validation" in page.text
    assert "Scores of the saved heads on the 80 photos, each scored by the head that never saw it" in page.text
    assert "Class cross-validation test ants 40 0 bees 40 0 all 80 0" in page.text
    assert "each photo trains 3 of the 4 heads" in page.text
    assert "validation photos" not in page.text
    assert page.raw["photos"]["memorized"] == [run.split[7].path]
    assert page.text.count("Memorized") == 1


def test_verdict_comes_first(standard, overfitting):
    """The verdict and its figures come before the curves, and the kept epoch is named."""
    run, text = standard
    page = Page(text)
    sentence = page.text.index(run.summary.verdict.sentence)
    assert sentence < page.text.index("Validation accuracy") < page.text.index("Cross-entropy loss")
    assert (
        page.text.index("Cross-entropy loss") < page.text.index("Worst mistakes") < page.text.index("Accuracy by epoch")
    )
    assert page.text.count("The bundled starter weights were used.") == 1
    assert page.text.index("starter weights were used") < page.text.index("Accuracy by epoch")
    assert f"{overfitting.best.val_loss:.3f}" in page.text
    assert f"{overfitting.last.val_loss:.3f}" in page.text


def test_nothing_outside_is_asked_for(standard):
    """No tag has an address other than data in the page, and no style imports one."""
    page = Page(standard[1])
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base")
        for name in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(name, "data:").startswith(("data:", "#")), (tag, attributes)


def test_no_address_in_the_text(standard):
    """Neither http: nor https: nor url( occurs in the file."""
    assert not [word for word in ("http://", "https://", "url(", "@import") if word in standard[1]]


def test_names_are_escaped(report, make_run, plant):
    """A class, run or file called <script>... is text on the page; the only script is the JSON island."""
    run = make_run(
        plant(np.ones(3), np.ones(3)),
        name=f"{EVIL}&",
        skipped=(SkippedRow(f"{EVIL}.jpg", "<b>broken</b>"),),
        classes=(EVIL, "</script><img src=x onerror=alert(1)>"),
        warnings=(EVIL,),
        command=f"imgreg {EVIL}",
    )
    page = report(run)
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "raw"}, {}]
    assert EVIL not in page.scripts[1]
    assert not [tag for tag, attributes in page.tags if "onerror" in attributes]
    assert EVIL in page.text
    assert page.raw["history"][0]["name"] == f"{EVIL}&"


def test_raw_history_is_whole(standard, overfitting):
    """The JSON in the page holds every epoch's figures, unrounded."""
    (raw,) = Page(standard[1]).raw["history"]
    assert raw["epochs"]["val_loss"] == overfitting.column("val_loss").tolist()
    assert raw["epochs"]["epoch"] == list(range(1, 101))


def test_surrogates_and_hidden_characters_are_shown(report, make_run, plant):
    """File names whose bytes are not UTF-8, and right-to-left tricks, appear as escapes."""
    run = make_run(
        plant(np.ones(2), np.ones(2)),
        name="caf\udce9",
        classes=("개미", "벌\u202e"),
        skipped=(SkippedRow("a\udcff.jpg", "empty file"),),
    )
    page = report(run)
    assert "caf\\udce9" in page.text
    assert "개미" in page.text
    assert "벌\\u202e" in page.text
    assert "a\\udcff.jpg" in page.text


def test_counts_skipped_files_and_command_are_there(standard):
    """The page has photos by class and side, skipped files, settings, environment and the command."""
    run, text = standard
    page = Page(text)
    assert "ants 159 40 0 bees 159 40 0 all 318 80 0" in page.text
    assert "120 skipped files" in page.text
    assert "ants/bad99.jpg" in page.text
    assert "The other 20 are in skipped.csv" in page.text
    assert run.summary.command in page.text
    assert 'name = "plain"' in page.text
    assert "packages.keras 3.15.1" in page.text


def test_images_have_words(standard):
    """Every image has an alternative text that says something, and the page has one h1."""
    page = Page(standard[1])
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2 + 3  # curves; ROC, precision and recall, calibration
    assert all(len(attributes["alt"]) > 40 for attributes in images)
    assert [tag for tag, _ in page.tags].count("h1") == 1


def test_an_old_verdict_with_less_evidence_is_shown(report, make_run, overfitting):
    """A run whose verdict holds no evidence, as another version may have written it, still has a report."""
    run = make_run(overfitting)
    bare = run.summary.verdict.model_copy(update={"evidence": {}})
    object.__setattr__(run, "summary", run.summary.model_copy(update={"verdict": bare}))
    assert bare.sentence in report(run).text


def with_baselines(run, *, low, high):
    """The run beside two baselines, the first of them with this interval, a control, and a next step with a command."""
    one = Baseline(
        name="logistic-regression-flattened",
        loss=0.31,
        train_loss=0.2,
        accuracy=0.85,
        low=0.75,
        high=0.92,
        note="C = 0.01.",
        loss_difference=Difference(mean=(low + high) / 2, low=low, high=high),
        accuracy_difference=Difference(mean=-0.05, low=-0.1, high=0.0),
    )
    other = one.model_copy(
        update={"name": "logistic-regression-means", "loss_difference": Difference(mean=0.1, low=None, high=None)}
    )
    baselines = (one, other)
    update = {
        "baselines": baselines,
        "against_baselines": baseline_sentence(baselines, head_loss=run.summary.best.val_loss),
        "sanity_baselines": (SanityBaseline(name="majority", loss=0.69, accuracy=0.5, low=0.4, high=0.6),),
        "next_step": NextStep(kind="more photos", sentence=f"More: `imgreg learning-curve {EVIL}` tells."),
    }
    object.__setattr__(run, "summary", run.summary.model_copy(update=update))
    return run


def test_baselines_stand_beside_the_verdict(tmp_path, make_run, overfitting):
    """A tile names the best; the section says which is better, its figure has every value in words; PNG and SVG too."""
    run = with_baselines(make_run(overfitting), low=0.1, high=0.3)
    written = run_report(run, folder=tmp_path, pictures={}, maps={})
    assert {"baselines.png", "baselines.svg"} <= set(written)
    assert (tmp_path / "baselines.svg").read_text().count("log. regression, flattened") == 2
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    tile = page.text.index("Best baseline: log. regression, flattened 85.0%")
    told = page.text.index("Logistic regression on the same features performs better: validation loss 0.310")
    assert page.text.index(run.summary.verdict.sentence) < tile < told
    assert "difference -5.0 (-10.0 to +0.0) points" in page.text
    (figure,) = [a for tag, a in page.tags if tag == "img" and a["alt"].startswith("Validation accuracy: this head")]
    assert "log. regression, flattened 85.0% (95 %: 75.0% to 92.0%)" in figure["alt"]
    assert "log. regression, flattened +0.200 (95 %: +0.100 to +0.300); log. regression, means +0.100." in figure["alt"]
    assert "largest class 50.0% (95 %: 40.0% to 60.0%)" in figure["alt"]


def test_one_next_step_is_told(tmp_path, make_run, overfitting):
    """The most promising one in place of the verdict's own, its command as code, whatever the data folder is called."""
    run = with_baselines(make_run(overfitting), low=-0.1, high=0.3)
    run_report(run, folder=tmp_path, pictures={}, maps={})
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert run.summary.verdict.next_step not in page.text
    assert f"Most promising next step: More: imgreg learning-curve {EVIL} tells." in page.text
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert "No clear difference between the head and logistic regression" in page.text


def test_a_run_has_one_colour(tmp_path, make_run, overfitting):
    """plain and l2 are drawn on their own pages in the colours that they have in a comparison."""
    assert recipe_colours(["l2", "plain", "plain"]) == (3, 0, 1)
    for recipe, its, other in (("plain", LIGHT.runs[0], LIGHT.runs[3]), ("l2", LIGHT.runs[3], LIGHT.runs[0])):
        run = make_run(overfitting)
        run = replace(run, summary=run.summary.model_copy(update={"recipe": recipe}))
        run_report(run, folder=tmp_path, pictures={}, maps={})
        drawn = (tmp_path / "curves.svg").read_text()
        assert its in drawn
        assert other not in drawn


def test_comparison_shows_answer_table_and_what_is_not_comparable(tmp_path, make_run, overfitting, healthy):
    """The page gives the answer first, has a panel a run, and says what is not comparable."""
    note = "The bundled starter weights were used."
    runs = [
        make_run(overfitting, weights_note=note),
        make_run(healthy, name=EVIL, n_train=300, weights_note=note, warnings=("Only here.",)),
        make_run(healthy, name="가" * 300, weights_note=note),
    ]
    runs[1] = replace(runs[1], summary=runs[1].summary.model_copy(update={"recipe": "l2"}))
    comparison_report(comparison_of(runs, folder=tmp_path), runs=runs, pictures={}, folder=tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert f"{EVIL} is better here: validation loss 0.35 vs. 0.51 for plain (difference 0.15," in page.text
    assert "318 and 300, 300 in common" in page.text
    assert page.text.count(note) == 1
    assert page.text.count("Only here.") == 1
    assert all(run.summary.verdict.sentence in page.text for run in runs)
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 3 + 3 + 1  # panels, overlays, forest
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert [raw["epochs"]["epoch"][-1] for raw in page.raw["history"]] == [100, 100, 100]
    assert "가" * 60 not in page.text
    assert "run-3" in [a["class"].split()[1] for _, a in page.tags if a.get("class", "").startswith("swatch")]
    assert LIGHT.runs[3] in (tmp_path / "panels.svg").read_text()
