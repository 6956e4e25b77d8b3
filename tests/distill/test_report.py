"""The report: its values, its page, and that the page is made again without a model."""

import copy
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import jinja2
import numpy as np
import pytest
from safetensors.torch import load_file

from distill import report_figures
from distill.report import (
    NOTICE,
    READ,
    READ_OF_PRIVACY,
    curves,
    read_images,
    read_report,
    rows_per_bank_image,
    warnings,
)
from distill.report_page import page
from distill.usage import UsageError

SECTIONS = (
    "What is guaranteed, and about whom", "What is not covered", "The pool", "Candidates in stage 2", "On the test images",
    "Training", "Time", "Configuration",
)  # fmt: skip
OUTSIDE = re.compile(r"<script|<link|<iframe|@import|(?:src|href)=\"(?!data:|#)|url\((?!#)", re.IGNORECASE)


@pytest.fixture(scope="module")
def values(tiny_run):
    return read_report(tiny_run.folder)


@pytest.fixture(scope="module")
def few(values):
    """The same with few figures, where many pages are made."""
    return values | {
        "curves": [],
        "candidate_sizes": {},
        "accuracy": {"private_student": values["accuracy"]["private_student"]},
    }


@pytest.fixture(scope="module")
def text(tiny_run) -> str:
    return (tiny_run.folder / "report.html").read_text()


def figures(text: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)


def test_the_page_has_its_sections_in_order(text: str) -> None:
    places = [text.find(f"<h2>{title}") for title in SECTIONS]
    assert -1 not in places
    assert places == sorted(places)


def test_every_figure_is_xml_and_takes_the_colours_of_the_page(text: str) -> None:
    found = figures(text)
    curves_drawn = 5  # teacher, generator, student 1, private student, clean-label student
    assert len(found) == 1 + 1 + 1 + 2 * 3 + curves_drawn + 1
    for figure in found:
        ElementTree.fromstring(figure)
        assert "currentColor" in figure
        assert "#010203" not in figure
    with pytest.raises(ElementTree.ParseError):  # the twin
        ElementTree.fromstring(found[0].replace("</g>", "", 1))


def test_the_page_needs_nothing_else(text: str) -> None:
    assert not OUTSIDE.findall(text)
    for twin in ("<script>1</script>", '<img src="http://x/y.png">', "a { background: url(http://x) }"):
        assert OUTSIDE.search(twin)


def test_the_page_says_at_a_glance_what_it_came_to(text: str, tiny_run) -> None:
    tiles = re.findall(r'<div class="tile"><small>(.*?)</small><b>(.*?)</b><small>(.*?)</small>', text)
    private = f"{100 * tiny_run.accuracy['private_student']:.1f}\N{NO-BREAK SPACE}%"
    assert tiles[0][:2] == ("private student", private)
    assert ("epsilon per answer", "1", "delta 0") in tiles
    assert ("epsilon per record", "none", "no guarantee") in tiles
    assert text.startswith(f"<!doctype html><!-- {NOTICE}")


def test_the_values_agree_with_each_other(values, tiny_run) -> None:
    for name, accuracy in values["accuracy"].items():
        table, calibration = np.array(values["confusion"][name]), values["calibration"][name]
        assert table.sum() == sum(each["images"] for each in calibration["bins"]) == 450
        assert np.trace(table) / 450 == pytest.approx(accuracy)
        right = sum(each["images"] * each["accuracy"] for each in calibration["bins"])
        assert right / 450 == pytest.approx(accuracy)
        low, high = values["accuracy_interval"][name]
        assert low < accuracy < high
    assert sum(values["pool"].values()) == 800
    assert sum(values["candidate_sizes"]["2"]) == 400
    assert {each["phase"] for each in values["curves"]} == {
        row["phase"] for row in tiny_run.figures if "loss" in row
    }
    # the twin: a teacher's confusion is no student's
    assert values["confusion"]["teacher"] != values["confusion"]["private_student"]


def test_images_stand_in_the_column_of_what_the_released_student_sees(values, tiny_run) -> None:
    """Not in that of the teacher's answer, which is secret."""
    stored = load_file(tiny_run.folder / "private" / "pool.safetensors")["images"].numpy()
    images = read_images(tiny_run.folder, values)
    for column, (items, shown) in enumerate(zip(values["shown"], images, strict=True)):
        assert (tiny_run.shown[items] == column).all()
        np.testing.assert_array_equal(shown.reshape(-1), stored[items].reshape(-1))
    answers = load_file(tiny_run.folder / "private" / "answers.safetensors")["answers"].numpy()
    assert any((answers[items] != column).any() for column, items in enumerate(values["shown"]))


def test_the_page_is_made_again_from_what_is_on_the_disk(values, text: str, tiny_run) -> None:
    assert page(values, read_images(tiny_run.folder, values)) == text
    without = page(values, None)
    assert len(figures(without)) == len(figures(text)) - 1
    assert "not at hand" in without


def test_a_warning_stands_where_the_student_learns_from_itself(few) -> None:
    """And nowhere else: from one answer in ten that is constant."""
    assert warnings(few) == []
    assert "learns from itself" not in page(few, None)
    for share, warned in ((0.09, False), (0.1, True), (0.6, True)):
        silent = copy.deepcopy(few)
        silent["constant_answers"]["2"] = share
        assert bool(warnings(silent)) is warned
        assert ("learns from itself" in page(silent, None)) is warned


def test_one_candidate_says_something_where_outsiders_are_told(tiny_run) -> None:
    """outside="other" answers at k = 1 too; outside="uniform" is constant there."""
    from labeldp import SelectiveRandomizedResponse, privatize
    from labeldp.learning.stages import StagedLabels

    for outside, share in (("other", 0.0), ("uniform", 1.0)):
        mechanism = SelectiveRandomizedResponse(1.0, 10, size=1, outside=outside)
        part = privatize(mechanism, np.arange(10), prior=np.ones((10, 10)))
        report = replace(tiny_run, released=StagedLabels((np.arange(10),), (part,)))
        assert report.constant_answers() == {1: share}
        assert report.candidate_sizes()[1][0] == 10


def test_rows_of_one_bank_image_are_counted() -> None:
    from types import SimpleNamespace

    varied = SimpleNamespace(bank=np.array([3, 3, 3, 7, -1, -1]))
    assert rows_per_bank_image(varied) == {"images": 2, "mean": 2.0, "largest": 3}
    assert rows_per_bank_image(SimpleNamespace(bank=np.array([-1, -1]))) is None


def test_where_images_of_the_generator_are_varied_the_page_says_how_often(few) -> None:
    counted = few | {"rows_per_bank_image": {"images": 57_600, "mean": 1.39, "largest": 2}}
    once = few | {"rows_per_bank_image": {"images": 800, "mean": 1.0, "largest": 1}}
    assert "No two rows are variations of one image" in page(once, None)
    assert "57,600 images of the generator were varied into\n1.4 rows each, 2 at most" in page(counted, None)


def test_a_public_prior_about_the_domain_is_said(few) -> None:
    assert "public prior about the domain" not in page(few, None)
    shapes = few | {"pool": {"trajectory": 400, "procedural": 400}}
    assert "public prior about the domain" in page(shapes, None)


@pytest.mark.parametrize(("num_classes", "channels"), [(2, 1), (10, 3), (100, 3)])
def test_a_sheet_of_images_fits_the_page(num_classes: int, channels: int) -> None:
    """Few classes do not make giant images, many no invisible ones; a class that is never seen leaves its column free."""
    images = [np.full((12, channels, 8, 8), 99, dtype=np.uint8) for _ in range(num_classes)]
    images[1] = np.empty(0)
    figure = ElementTree.fromstring(
        report_figures.pool_samples(images, [f"name {c}" for c in range(num_classes)])
    )
    width, height = (float(figure.attrib[side].removesuffix("pt")) / 72 for side in ("width", "height"))
    assert width <= report_figures.WIDE + 0.01
    assert height <= 7
    shown = min(num_classes, report_figures.MOST_COLUMNS)
    assert 0.15 <= width / shown <= report_figures.LARGEST_IMAGE + 0.01


def test_classes_have_their_names_in_figures(tiny_run) -> None:
    """Whatever they are made of: long, formulas, letters that a font lacks, and none that break the page."""
    names = ["a<b & $x$", "\N{CJK UNIFIED IDEOGRAPH-8C93}", "a name that is far too long", "tab\tbell\a"]
    for text in (
        report_figures.confusion(np.eye(4, dtype=int).tolist(), names),
        report_figures.pool_samples([np.full((2, 1, 4, 4), 9, dtype=np.uint8)] * 4, names),
    ):
        drawn = "".join(ElementTree.fromstring(text).itertext())
        for name in (*names[:2], "a name tha…", "tab?bell?"):
            assert name in drawn
        assert names[2] not in drawn
    assert replace(tiny_run, classes=("no", "yes")).to_dict()["classes"] == ["no", "yes"]
    assert replace(tiny_run, classes=()).to_dict()["classes"] == list("0123456789")


def test_curves_are_thinned_out_and_keep_their_phases() -> None:
    rows = [{"phase": "teacher", "step": step, "loss": 1 / step} for step in range(1, 5000)]
    (curve,) = curves([*rows, {"phase": "pool"}])
    assert (curve["phase"], curve["figure"]) == ("teacher", "loss")
    assert 100 <= len(curve["points"]) <= 200
    assert curve["points"][0] == (1, 1.0)


def test_a_run_of_clean_answers_is_stamped_on_its_page(few) -> None:
    clean = copy.deepcopy(few)
    clean["privacy"] |= {
        "releasable": False, "not_for_release": "the answers were not randomized", "stages": "clean", "epsilon_per_answer": None,
    }  # fmt: skip
    for guarantee in clean["guarantees"]:
        guarantee |= {"holds": False, "epsilon": None}
    text = page(clean, None)
    assert "NOT FOR RELEASE:" in text
    assert "clean answers, not private" in text
    assert 'class="holds"' not in text
    assert "<small>private student<" not in text
    assert "<small>private student<" in page(few, None)
    assert "NOT FOR RELEASE:" not in page(few, None)  # the twin


def test_the_price_of_privacy_is_spoken_of_where_there_is_one(values, few) -> None:
    accuracy = values["accuracy"]
    for private, clean, price in ((0.8, 0.9, True), (0.9, 0.9, False), (0.95, 0.9, False)):
        seen = values | {
            "accuracy": accuracy | {"private_student": private, "clean_student": clean},
            "curves": [],
        }
        text = page(seen, None)
        assert ("is the price of privacy" in text) is price
        assert ("lacks nothing against it" in text) is not price


def test_a_folder_has_a_name_of_its_own(few) -> None:
    config = copy.deepcopy(few["config"])
    assert "A student of digits, distilled" in page(few, None)
    config["data"] |= {"name": "folder", "directory": "/somewhere/lesions/"}
    assert "A student of the folder lesions, distilled" in page(few | {"config": config}, None)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"accuracy": {}}'])
def test_a_missing_or_damaged_report_is_said(tmp_path, content) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(UsageError, match=re.escape(str(tmp_path))):
        read_report(tmp_path)


def test_a_report_of_another_version_is_one_clear_line(values, tmp_path) -> None:
    """Each key that a page is made of is asked for before the page is made."""
    path = tmp_path / "report.json"
    for key in values:
        path.write_text(json.dumps({name: value for name, value in values.items() if name != key}))
        with pytest.raises(UsageError, match=rf"to hold .*{key}.*another version"):
            read_report(tmp_path)
    privacy = {name: value for name, value in values["privacy"].items() if name != "not_for_release"}
    path.write_text(json.dumps(values | {"privacy": privacy}))
    with pytest.raises(UsageError, match=r"privacy\.not_for_release"):
        read_report(tmp_path)
    asked = {"privacy": {name: values["privacy"][name] for name in READ_OF_PRIVACY}}
    page(
        asked | {name: values[name] for name in READ if name not in asked}, None
    )  # no other key is looked at
    with pytest.raises(Exception, match="plain_words"):  # the twin
        page(
            values
            | {"privacy": {**asked["privacy"], "plain_words": jinja2.StrictUndefined(name="plain_words")}},
            None,
        )


def test_the_values_are_the_file(values, tiny_run) -> None:
    assert values == json.loads(json.dumps(tiny_run.to_dict()))
