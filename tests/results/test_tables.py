import pytest

from reidlib.results import tables


def test_all_printed_numbers_are_there():
    frame = tables.published()
    assert len(frame) == 938
    assert not frame.duplicated(tables.KEY).any()
    assert frame["value"].notna().all()
    assert (frame[tables.KEY] != "").all().all()
    assert set(frame["origin"]) == set(tables.ORIGINS)


@pytest.mark.parametrize(
    ("table", "variant", "origin"),
    [
        ("P0.I", "CAP", "quoted"),
        ("P0.I", "ours:random", "ours"),
        ("P0.IV", "N=8", "ours"),
        ("P1.3.1", "VIPeR", "counts"),
        ("P1.4.4", "OSNet", "quoted"),
        ("P1.4.4", "Thesis work", "ours"),
        ("P2.I", "IFD", "ours"),
        ("P2.I", "AIM", "quoted"),
        ("P3.4", "LSRO", "quoted"),
        ("P3.4", "ours:SLS+ResNet", "ours"),
        ("P4.5.3", "L1", "ours"),
        ("P4.5.1", "IDs", "counts"),
    ],
)
def test_origins(table, variant, origin):
    frame = tables.published()
    found = frame[(frame["table"] == table) & (frame["variant"] == variant)]
    assert set(found["origin"]) == {origin}


def test_lookup():
    assert tables.lookup("P1.4.2", "ResNet-50 + lossless triplet loss", "Market-1501", "mAP") == 81.9
    assert tables.lookup("P4.5.3", "ML", "Market-1501", "FID") == 319.82
    with pytest.raises(KeyError, match=r"no printed number .* the nearest: .*ResNet-50 \+ lossless"):
        tables.lookup("P1.4.2", "ResNet50 + lossless triplet loss", "Market-1501", "mAP")


def test_wide_keeps_the_printed_order():
    table = tables.wide("P1.4.4")
    assert list(table.columns) == ["variant", "dataset", "R1", "mAP"]
    assert list(table["variant"]) == ["SGGNN", "Aligned Re-Id", "OSNet", "AANet", "Thesis work"]
    assert list(table["R1"]) == [92.3, 91.8, 94.0, 93.7, 92.1]
    assert list(tables.wide("P0.II", "MSMT17")["variant"]) == [f"K={k}" for k in (1, 2, 4, 8, 12, 16, 32)]
    with pytest.raises(KeyError, match=r"no table 'P9\.1'"):
        tables.wide("P9.1")


def test_papers():
    papers = tables.papers()
    assert [paper["id"] for paper in papers] == ["P0", "P1", "P2", "P3", "P4"]
    assert [paper["average_precision"] for paper in papers] == ["std", "std", "std", "trap", "trap"]
    assert tables.paper("P1")["chapter"] == "triplet"
    assert all(paper[key] for paper in papers for key in ("title", "authors", "short", "datasets"))
    with pytest.raises(ValueError, match="unknown paper 'P7'; one of P0"):
        tables.paper("P7")


def test_without_the_repository_the_error_says_where_the_tables_are(monkeypatch):
    monkeypatch.setattr(tables, "repository", lambda: None)
    with pytest.raises(FileNotFoundError, match="book/papers of the repository"):
        tables.published()


MAPPING = {"ResNet-50 + triplet loss": "triplet", "ResNet-50 + lossless triplet loss": "lossless"}


def test_compare_sets_ours_beside_the_paper(make):
    runs = [make("triplet", seed, R1=80.0, mAP=54.0 + seed) for seed in range(3)]
    table = tables.compare("P1.4.2", MAPPING, runs, ["R1", "mAP"]).set_index("variant")
    row = table.loc["ResNet-50 + triplet loss"]
    assert row["mAP paper"] == 75.9
    assert row["mAP ours"] == "55.0 [52.5, 57.5], n=3"
    assert row["R1 ours"] == "80.0 [80.0, 80.0], n=3"
    assert row["seeds"] == 3
    assert row["runs"] == "market-like, CPU"
    row = table.loc["ResNet-50 + lossless triplet loss"]
    assert row["mAP paper"] == 81.9
    assert row["mAP ours"] == "not run"
    assert row["seeds"] == 0


def test_compare_lists_quoted_methods_and_missing_numbers():
    table = tables.compare("P1.4.4", {"OSNet": None, "Thesis work": "lossless"}, [], ["R1", "R5"])
    assert list(table["R1 paper"]) == [94.0, 92.1]
    assert table["R5 paper"].isna().all()
    assert list(table["R1 ours"]) == ["not run", "not run"]


def test_compare_asks_for_the_data_set_and_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"several data sets \(Market-1501, DukeMTMC-reID, MSMT17\): name one"):
        tables.compare("P0.II", {"K=1": "k1"}, [], ["mAP"])
    assert tables.compare("P0.II", {"K=1": "k1"}, [], ["mAP"], "MSMT17")["mAP paper"][0] == 12.0
    with pytest.raises(KeyError, match="has no variant 'K=3'"):
        tables.compare("P0.II", {"K=3": "k3"}, [], ["mAP"], "MSMT17")
