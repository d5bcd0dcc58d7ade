import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from reidlib.data import check, check_report, layouts
from reidlib.data.frame import make_frame
from reidlib.workflow import cli


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "ltcc"
    return layouts.draw("ltcc-like", folder, size=(32, 16), identities=3, progress=False)


@pytest.fixture
def root(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "ltcc")


def wrong(report):
    return [finding.sentence for finding in report.findings if finding.wrong]


def test_a_whole_data_set(root):
    report = check.check_folder(root, own=True)
    assert report.name == "ltcc"
    assert report.ok
    assert report.verdict.startswith("ltcc is whole (there are no published counts")
    assert "smallest image: 16 wide, 32 high" in report.text()
    people = report.frame.drop_duplicates("path").groupby("pid").size()
    assert f"images of a person: {people.min()} to {people.max()}" in report.text()
    assert "outfits of a person" in report.text()


def test_published_counts_are_compared(root):
    report = check.check_folder(root, files=False)
    assert not report.ok
    assert [sentence.split()[0] for sentence in wrong(report)] == ["train", "query", "gallery"]
    assert "published are 9,576 images and 77 identities" in report.text()
    assert "Do not use ltcc as it is: 3 things are wrong." in report.text()
    frame = report.frame
    published = {
        split: {"images": int((frame.split == split).sum()), "identities": frame[frame.split == split].pid.nunique()}
        for split in ("train", "query", "gallery")
    }
    good = check.check(frame, published=published, name="mine")
    assert good.ok
    assert good.verdict == "mine is whole and has the published counts. The files were not opened."


def test_broken_and_missing_files_are_found(root):
    images = sorted((root / "train").glob("*.png"))
    images[0].write_bytes(images[0].read_bytes()[:200])
    images[1].write_bytes(b"")
    report = check.check_folder(root, own=True)
    assert wrong(report) == [f"2 images cannot be read: train/{images[0].name}, train/{images[1].name}"]
    frame = report.frame
    images[2].unlink()
    gone = check.check(frame, root)
    assert wrong(gone)[0].startswith("3 images cannot be read")
    assert gone.files.set_index("path").loc[f"train/{images[2].name}", "error"] == "missing"


def test_copies_leaks_and_torn_labels(root):
    train, test = sorted((root / "train").glob("000_*.png")), sorted((root / "test").glob("*.png"))
    shutil.copy(train[0], train[0].with_name(train[0].name.replace("_000", "_900")))
    assert check.check_folder(root, own=True).ok
    assert "1 pictures are there more than once" in check.check_folder(root, own=True).text()
    shutil.copy(train[1], train[1].with_name(train[1].name.replace("000_", "001_", 1).replace("_000", "_901")))
    shutil.copy(train[2], test[0])
    report = check.check_folder(root, own=True)
    assert [re.sub(":.*", "", sentence) for sentence in wrong(report)] == [
        "1 pictures are in the training and in the test set",
        "2 pictures have two different persons as label",
    ]


def test_copies_in_a_data_set_with_its_published_counts_are_its_own(root):
    train, test = sorted((root / "train").glob("*.png")), sorted((root / "test").glob("*.png"))
    shutil.copy(train[2], test[0])
    frame = check.check_folder(root, own=True, files=False).frame
    published = {"query": {"images": int((frame.split == "query").sum()), "identities": None}}
    report = check.check(frame, root, published)
    assert report.ok
    assert "in the training and in the test set" in report.text()
    assert "Leave them: the data set was published so" in report.text()
    assert not check.check(frame, root).ok


def test_wrong_label_maps_are_found(root):
    maps = sorted((root / "parts" / "query").glob("*.png"))
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(maps[0])
    Image.fromarray(np.full((32, 16), 77, np.uint8)).save(maps[1])
    report = check.check_folder(root, own=True)
    assert len(wrong(report)) == 1
    assert wrong(report)[0].startswith("2 label maps are wrong; ")


def test_queries_without_a_match_and_one_camera():
    rows = [dict(path=f"{n}.jpg", split=s, pid=p, camid=c) for n, (s, p, c) in enumerate(
        [("query", 1, 0), ("gallery", 1, 1), ("query", 2, 0), ("gallery", 2, 0)]
    )]  # fmt: skip
    report = check.check(make_frame(rows))
    assert report.ok
    assert "1 of 2 queries have no match in another camera (first: pid 2)" in report.text()
    report = check.check(make_frame([row | {"camid": 0} for row in rows]))
    assert "there is one camera" in report.text()
    report = check.check(make_frame([row | {"split": "train"} for row in rows]))
    assert "there are no queries" in report.text()


def test_an_invalid_frame_is_reported():
    frame = make_frame(
        [dict(path=f"{p}.jpg", split=s, pid=p, camid=0) for s, p in (("train", 1), ("query", 2), ("gallery", 2))]
    )
    frame.loc[0, "pid"] = 2
    assert wrong(check.check(frame))[0].startswith("1 identities are both in train and in query or gallery")


# --- the page


def test_the_page_stands_alone(root, tmp_path):
    report = check.check_folder(root)
    page = check_report.write(report, tmp_path / "page.html").read_text()
    assert len(page) < 400_000
    assert not re.search(r"(?:src|href)=.?(?:http|//|file)", page)
    assert page.count("<img") == 2
    assert page.count("alt=") == 2
    assert "treat it as the data set itself" in page
    assert "9,576" in page
    plain = check_report.write(report, tmp_path / "plain.html", pictures=False).read_text()
    assert plain.count("<img") == 1


def test_names_in_the_page_are_text(tmp_path):
    frame = make_frame([dict(path=f"<b>{n}.jpg", split=s, pid=1, camid=n) for n, s in enumerate(("query", "gallery"))])
    report = check.check(frame, tmp_path, name="<script>")
    page = check_report.write(report, tmp_path / "page.html").read_text()
    assert "<script>" not in page
    assert "<b>" not in page


# --- the command


def test_command_line(tmp_path, capsys):
    root = tmp_path / "people"
    arguments = ["data", "draw", "prcc-like", str(root), "--size", "32", "16", "--identities", "3", "--seed", "4"]
    assert cli.main(arguments) == 0
    assert "no real person" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert cli.main(["data", "check", str(root), "--own", "--report", str(page), "--no-pictures"]) == 0
    shown = capsys.readouterr().out
    assert "prcc is whole" in shown
    assert page.is_file()
    assert cli.main(["data", "check", str(root), "--quick"]) == 1
    assert "Do not use prcc as it is: 4 things are wrong." in capsys.readouterr().out
    assert cli.main(["data", "check", str(root), "--dataset", "folder", "-p", "pattern", "(?P<pid>x)"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(arguments) == 1
    assert "exists and is not an empty folder" in capsys.readouterr().err


def test_guessing():
    assert check.guess("people.csv") == ["csv"]


def test_what_looks_like_two_data_sets_but_is_neither(tmp_path):
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "me.jpg").touch()
    with pytest.raises(ValueError, match=r"as market1501: .*me\.jpg.*; as dukemtmc: .*Name the data set \(--dataset\)"):
        check.check_folder(tmp_path)


def test_findings_are_plain(root):
    report = check.check_folder(root, files=False)
    assert json.dumps([vars(finding) for finding in report.findings])
