"""Bad input, by category: each case ends in one sentence that names the file, row or option and says what to do.

Every case damages a whole drawn data set and runs `reidlib data check` on it: no traceback, exit status 1.
"""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from reidlib.data import layouts
from reidlib.workflow import cli

PRESETS = {
    "market1501": "market-like", "dukemtmc": "duke-like", "msmt17": "msmt17-like", "cuhk03": "cuhk03-like",
    "cuhk03-np": "cuhk03-like", "viper": "viper-like", "prcc": "prcc-like", "ltcc": "ltcc-like", "folder": "ltcc-like",
    "persons": "ltcc-like", "csv": "ltcc-like",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("whole"), {}

    def get(layout):
        if layout not in made:
            made[layout] = layouts.draw(
                PRESETS[layout], folder / layout, layout, size=(16, 8), identities=2, progress=False
            )
        return made[layout]

    return get


# --- damage


def drop(path):
    def damage(root):
        shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()

    return damage


def empty(folder):
    return lambda root: [path.unlink() for path in (root / folder).iterdir()]


def rename(old, new):
    """The first file or folder that fits the pattern `old` gets another name."""

    def damage(root):
        path = sorted(root.glob(old))[0]
        path.rename(path.with_name(re.sub(*new, path.name, count=1)) if isinstance(new, tuple) else path.with_name(new))

    return damage


def copy(old, new, folder=None):
    """A copy of the first file that fits, under a changed name, perhaps in another folder, with other content."""

    def damage(root):
        path = sorted(root.glob(old))[0]
        image = Image.open(path).convert("RGB")
        image.putpixel((0, 0), (1, 2, 3))
        image.save((root / folder if folder else path.parent) / re.sub(*new, path.name, count=1))

    return damage


def line(file, number, change):
    """Replace line `number` (0 the first) of a text file by what `change` makes of it."""

    def damage(root):
        lines = (root / file).read_text().splitlines()
        lines[number] = change(lines[number])
        (root / file).write_text("\n".join(lines) + "\n")

    return damage


def write(pattern, content):
    return lambda root: (sorted(root.glob(pattern)) or [root / pattern])[0].write_bytes(content)


def cut(pattern):
    def damage(root):
        path = sorted(root.glob(pattern))[0]
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def mask(array):
    return lambda root: Image.fromarray(np.asarray(array, np.uint8)).save(sorted((root / "parts").rglob("*.png"))[0])


def mat(change):
    def damage(root):
        import h5py

        with h5py.File(root / "cuhk-03.mat", "r+") as file:
            change(file)

    return damage


def other_tester(file):
    """The first testset names a person who does not exist."""
    file[file["testsets"][0, 0]][1, 0] = 999


def cell(column, value, row=1):
    """Set one cell of images.csv; columns: path, split, pid, camid, clothes, mask."""
    place = ["path", "split", "pid", "camid", "clothes", "mask"].index(column)

    def change(text):
        cells = text.split(",")
        cells[place] = value
        return ",".join(cells)

    return line("images.csv", row, change)


def nothing(root):
    pass


def move_inside(root):
    """Two whole data sets in one folder."""
    inside = [path for path in root.iterdir()]
    for name in ("one", "two"):
        shutil.copytree(root, root / name, ignore=lambda folder, names: {"one", "two"} & set(names))
    for path in inside:
        shutil.rmtree(path)


CASES = {
    # layout of the folder
    "layout: no folder": ("market1501", lambda root: shutil.rmtree(root), (), r"no folder .*market1501"),
    "layout: market without query": ("market1501", drop("query"), (), r"has no query: a Market-1501 folder holds"),
    "layout: market with an empty query": ("market1501", empty("query"), (), r"query holds no jpg file: a Market"),
    "layout: duke without test": ("dukemtmc", drop("bounding_box_test"), (), r"has no bounding_box_test: a Duke"),
    "layout: msmt without a list": ("msmt17", drop("list_gallery.txt"), (), r"has no list_gallery\.txt: an MSMT17"),
    "layout: msmt without images": ("msmt17", drop("test"), (), r"has the lists but neither train and test nor mask_"),
    "layout: cuhk03-np without boxes": ("cuhk03-np", drop("labeled"), (), r"has no labeled: a CUHK03-NP folder"),
    "layout: viper without a camera": ("viper", drop("cam_b"), (), r"has no cam_b: a VIPeR folder holds"),
    "layout: prcc without C": ("prcc", drop("rgb/test/C"), (), r"has no rgb/test/C: a PRCC folder holds"),
    "layout: prcc with an empty person": ("prcc", empty("rgb/val/001"), (), r"001 holds no jpg file: a PRCC"),
    "layout: ltcc without test": ("ltcc", drop("test"), (), r"has no test: an LTCC folder holds"),
    "layout: cuhk03 without the mat": ("cuhk03", drop("cuhk-03.mat"), (), r"has no cuhk-03\.mat.*a CUHK03 folder"),
    "layout: several in one": ("viper", move_inside, (), r"several data sets \(one, two\): name one of them"),
    "layout: no picture": (
        "persons",
        lambda root: [drop(p.name)(root) for p in root.iterdir()],
        (),
        r"holds no picture",
    ),
    "layout: splits and others": (
        "persons",
        lambda root: (root / "person_0001").rename(root / "query"),
        (),
        r"has split folders and also person_0",
    ),
    # names of files
    "names: market": ("market1501", copy("query/*.jpg", ("_c", "-c")), (), r"first: .*-c.*; move them away or rename"),
    "names: duke": ("dukemtmc", copy("query/*.jpg", ("^0", "")), (), r"not named like 0001_c2_f0046182\.jpg \(first: "),
    "names: cuhk03-np": ("cuhk03-np", copy("detected/query/*", ("_c", "_")), (), r"not named like 0001_c1_1\.png"),
    "names: viper": (
        "viper",
        copy("cam_a/*", (r"^\d+", "x")),
        (),
        r"1 of 5 files in .*cam_a are not named like 000_45",
    ),
    "names: prcc person": ("prcc", rename("rgb/train/*", "bob"), (), r"bob: a person's folder is a number, like 001"),
    "names: prcc camera": ("prcc", copy("rgb/train/001/A*", ("A", "D")), (), r"named like A_cropped.*first: D_cropped"),
    "names: ltcc": ("ltcc", copy("query/*", (r"_\d+_c", "_c")), (), r"not named like 000_1_c11_015833\.png \(first: "),
    "names: folder": (
        "folder",
        rename("*.jpg", "me.jpg"),
        (),
        r"not named like PERSON_CAMERA_anything\.jpg \(first: me",
    ),
    "names: some name a camera": (
        "persons",
        rename("person_0001/*", "me.jpg"),
        (),
        r"PERSON/\.\.\.cCAMERA.*first: pers",
    ),
    "names: the pattern": (
        "folder",
        nothing,
        ("-p", "pattern", r"(?P<pid>\d)"),
        r"not named like the pattern \(\?P<pid",
    ),
    "names: msmt line": (
        "msmt17",
        line("list_val.txt", 0, lambda t: t[:-2]),
        (),
        r"list_val\.txt, line 1: .* is not like",
    ),
    "names: msmt image": (
        "msmt17",
        line("list_query.txt", 1, lambda t: t.replace("0303", "9999")),
        (),
        r"list_query\.txt, line 2: .*does not",
    ),
    # labels
    "labels: duke person 0": ("dukemtmc", copy("query/*", (r"^\d+", "0000")), (), r"0000_c.*has no person 0000"),
    "labels: duke train and test": (
        "dukemtmc",
        copy("bounding_box_test/*", ("x", "x"), "bounding_box_train"),
        (),
        r"1 identities are both in train",
    ),
    "labels: viper alone": (
        "viper",
        rename("cam_b/*", (r"^\d+", "777")),
        (),
        r"person 000 is only in cam_a; VIPeR has one image",
    ),
    "labels: viper twice": ("viper", copy("cam_a/*", (r"_\d+", "_7")), (), r"person 000 is twice in cam_a"),
    "labels: msmt label": (
        "msmt17",
        line("list_train.txt", 0, lambda t: t[:-1] + "-1"),
        (),
        r"line 1: .*-1' is not like",
    ),
    "labels: msmt empty list": ("msmt17", write("list_val.txt", b""), (), r"list_val\.txt is empty; unpack"),
    "labels: csv empty": ("csv", cell("pid", ""), (), r"images\.csv, line 2: column pid is empty; fill it in"),
    "labels: csv train and test": (
        "csv",
        cell("split", "gallery"),
        (),
        r"both in train and in query.*number the test iden",
    ),
    "labels: csv person 0": ("csv", cell("pid", "0"), (), r"pid 0 in split 'train'.*number persons from 1"),
    "labels: csv below junk": ("csv", cell("pid", "-2"), (), r"pid is -2, and the lowest that means anything is -1"),
    "labels: csv split": ("csv", cell("split", "test"), (), r"unknown split 'test'; the splits are train, val"),
    "labels: nobody twice": (
        "folder",
        nothing,
        ("-p", "pattern", r"(?P<pid>.*)"),
        r"of the \d+ people .*has two images",
    ),
    # cameras
    "cameras: ltcc 13": ("ltcc", copy("query/*", (r"c\d+", "c13")), (), r"the name says camera 13, .*1\.\.12; rename"),
    "cameras: ltcc 0": ("ltcc", copy("query/*", (r"c\d+", "c0")), (), r"the name says camera 0, but"),
    "cameras: duke 9": (
        "dukemtmc",
        copy("query/*", (r"c\d", "c9")),
        (),
        r"c9_f.*camera 9, .*has cameras 1\.\.8; rename",
    ),
    "cameras: duke 12": ("dukemtmc", copy("query/*", (r"c\d", "c12")), (), r"camera 12, but the data set"),
    "cameras: cuhk03-np 3": ("cuhk03-np", copy("detected/query/*", (r"c\d", "c3")), (), r"camera 3, but .*1\.\.2"),
    "cameras: market 10": ("market1501", copy("query/*", (r"c\ds", "c10s")), (), r"not named like 0001_c1s1"),
    "cameras: csv": ("csv", cell("camid", "-1"), (), r"camid is -1, and the lowest that means anything is 0"),
    "cameras: csv empty": ("csv", cell("camid", "", 3), (), r"line 4: column camid is empty; fill it in"),
    # outfits
    "outfits: csv no number": (
        "csv",
        cell("clothes", "red"),
        (),
        r"'clothes' holds something that is not a whole number",
    ),
    "outfits: csv shared": ("csv", cell("clothes", "8"), (), r"clothes 8 is worn by 2 persons; number outfits so that"),
    "outfits: csv below": (
        "csv",
        cell("clothes", "-5"),
        (),
        r"clothes is -5, and the lowest that means anything is -1",
    ),
    # label maps
    "masks: size": (
        "ltcc",
        mask(np.zeros((4, 4))),
        (),
        r"1 label maps are wrong; .*4x4 pixels and its image 8x16.*Make",
    ),
    "masks: colours": ("ltcc", mask(np.zeros((16, 8, 3))), (), r"has mode 'RGB'; save class numbers as an 8-bit"),
    "masks: range": ("viper", mask(np.full((16, 8), 200)), (), r"holds the value 200, .*is it a picture in colours\?"),
    "masks: broken": ("prcc", cut("parts/rgb/test/A/*/*"), (), r"the label map .* cannot be read .*make it again"),
    # image files
    "images: cut jpg": ("market1501", cut("query/*.jpg"), (), r"1 images cannot be read: query/.*jpg\.\s+Restore them"),
    "images: cut png": ("ltcc", cut("query/*.png"), (), r"1 images cannot be read: query/.*png\.\s+Restore them"),
    "images: cut bmp": ("viper", cut("cam_a/*"), (), r"1 images cannot be read: cam_a/.*bmp\.\s+Restore them"),
    "images: empty": ("dukemtmc", write("query/*", b""), (), r"1 images cannot be read: query/"),
    "images: text": ("folder", write("*.jpg", b"hello"), (), r"1 images cannot be read: 0001_"),
    "images: leak": (
        "dukemtmc",
        lambda root: shutil.copy(min((root / "query").iterdir()), root / "bounding_box_train/0001_c1_f9.jpg"),
        (),
        r"1 pictures are in the training and in the test set.*\.\s+Remove them from one",
    ),
    # CSV
    "csv: no file": ("csv", drop("images.csv"), (), r"there is no CSV file .*a CSV file with the columns path"),
    "csv: no column": (
        "csv",
        line("images.csv", 0, lambda t: t.replace("camid", "cam")),
        (),
        r"no column camid \(it has",
    ),
    "csv: empty": ("csv", write("images.csv", b""), (), r"images\.csv cannot be read as CSV"),
    "csv: heading only": ("csv", write("images.csv", b"path,pid,camid\n"), (), r"has a heading and no rows"),
    "csv: ragged": (
        "csv",
        line("images.csv", 2, lambda t: t + ",1,2,3"),
        (),
        r"cannot be read as CSV in UTF-8.*line 3",
    ),
    "csv: not UTF-8": (
        "csv",
        write("images.csv", b"path,pid,camid\n\xff\xfe.jpg,1,2\n"),
        (),
        r"cannot be read as CSV in",
    ),
    "csv: missing image": (
        "csv",
        cell("path", "images/none.png", 4),
        (),
        r"line 5: there is no file .*none\.png \(1 of",
    ),
    "csv: twice": (
        "csv",
        line("images.csv", 2, lambda t: t.replace("000001", "000000")),
        (),
        r"occurs twice in split 'tr",
    ),
    "csv: two files": (
        "csv",
        lambda root: shutil.copy(root / "images.csv", root / "b.csv"),
        (),
        r"2 CSV files: name one",
    ),
    # cuhk-03.mat
    "mat: no HDF5": ("cuhk03", write("cuhk-03.mat", b"MATLAB 5.0"), (), r"cuhk-03\.mat is no HDF5 file.*download"),
    "mat: cut": ("cuhk03", cut("cuhk-03.mat"), (), r"cuhk-03\.mat is no HDF5 file.*download"),
    "mat: no testsets": ("cuhk03", mat(lambda file: file.pop("testsets")), (), r"has no testsets: it is not the cuhk"),
    "mat: another layout": (
        "cuhk03",
        mat(lambda file: (file.pop("detected"), file.create_dataset("detected", data=np.ones((1, 5))))),
        (),
        r"is not laid out like cuhk-03\.mat",
    ),
    "mat: unknown person": (
        "cuhk03",
        mat(other_tester),
        (),
        r"testset 0 names person 999 of camera pair \d, who has no",
    ),
    # parameters
    "parameters: split 20": ("cuhk03", nothing, ("-p", "split", "20"), r"split=20 is not one of 0\.\.19"),
    "parameters: split text": ("viper", nothing, ("-p", "split", "first"), r"split='first' is not one of 0\.\.9"),
    "parameters: boxes": (
        "cuhk03-np",
        nothing,
        ("-p", "boxes", "labeled"),
        r"boxes='labeled' is not one of 'detected', '",
    ),
    "parameters: direction": ("viper", nothing, ("-p", "query", "c"), r"query='c' is not one of 'a', 'b'"),
    "parameters: train": (
        "msmt17",
        nothing,
        ("-p", "train", "all"),
        r"train='all' is not one of 'train\+val', 'train'",
    ),
    "parameters: share": ("folder", nothing, ("-p", "train", "2"), r"train=2 is not a share of the people, 0 <= train"),
    "parameters: expression": ("folder", nothing, ("-p", "pattern", "(?P<pid>"), r"is no regular expression"),
    "parameters: no group": ("folder", nothing, ("-p", "pattern", r"(\d+)"), r"must have a group \(\?P<pid>"),
    "parameters: unknown": ("ltcc", nothing, ("-p", "splitt", "3"), r"the reader of 'ltcc' has no option 'splitt'"),
    "parameters: data set": (
        "ltcc",
        nothing,
        ("--dataset", "lttc"),
        r"'lttc' is no data set on disk; these are: market",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_no_traceback(case, whole, tmp_path, capsys):
    layout, damage, options, words = CASES[case]
    root = shutil.copytree(whole(layout), tmp_path / layout)
    damage(root)
    dataset = {"persons": "folder"}.get(layout, layout)
    named = () if "--dataset" in options else ("--dataset", dataset)
    assert cli.main(["data", "check", str(root), "--own", *named, *options]) == 1
    said = capsys.readouterr()
    sentence = said.err.rpartition("\r")[2].strip() or said.out[said.out.index("WRONG") :]
    assert re.search(words, sentence, re.DOTALL), sentence
    faults = 2 if case == "images: leak" else 1  # the same picture of two persons is wrong twice
    assert len(re.findall("reidlib:|WRONG", sentence)) == faults, sentence


@pytest.mark.parametrize("layout", PRESETS)
def test_undamaged_data_pass(layout, whole, capsys):
    dataset = {"persons": "folder"}.get(layout, layout)
    assert cli.main(["data", "check", str(whole(layout)), "--own", "--dataset", dataset]) == 0
    assert "is whole" in capsys.readouterr().out


def test_there_are_at_least_forty_cases_in_all_categories():
    kinds = {case.partition(":")[0] for case in CASES}
    assert kinds == {"layout", "names", "labels", "cameras", "outfits", "masks", "images", "csv", "mat", "parameters"}
    assert len(CASES) >= 40
