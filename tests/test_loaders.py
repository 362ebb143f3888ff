"""Loaders of real logs, on files of each format that are written here; and on the real ones where they are."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxreco import cli
from jaxreco.base import CLICK, COMMENT, EXAMINED, LIKE
from jaxreco.data import sets, table
from jaxreco.errors import DataError

pl = pytest.importorskip("polars")

SHARED = Path(os.environ.get("JAXRECO_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def write(folder: Path, **texts: str) -> Path:
    """Files by name, `__` for the dot; gzip where the name ends so."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        path = folder / name.replace("__", ".")
        data = text.encode("utf-8")
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return folder


# -- one set after the other ---------------------------------------------------------------------------------


def lastfm(folder: Path) -> Path:
    write(
        folder,
        artists__dat='id\tname\turl\tpictureURL\n7\tBjörk "live"\tx\ty\n3\tAir\tx\ty\n9\tNobody\tx\ty\n',
        user_artists__dat="userID\tartistID\tweight\n2\t7\t13\n2\t3\t5\n5\t3\t1\n",
        user_friends__dat="userID\tfriendID\n2\t5\n5\t2\n",
        user_taggedartists__dat="userID\tartistID\ttagID\tday\tmonth\tyear\n2\t7\t1\t1\t4\t2009\n2\t7\t2\t1\t4\t2009\n5\t7\t2\t1\t4\t2009\n",
    )
    (folder / "tags.dat").write_bytes("tagID\ttagValue\n1\tmétal\n2\tpop\n".encode("latin-1"))
    return folder


def test_lastfm(tmp_path: Path) -> None:
    log = sets.load(lastfm(tmp_path / "x"))
    assert (log.name, len(log), log.n_users, log.n_items) == ("Last.fm HetRec", 3, 2, 3)
    assert log.item.tolist() == [0, 1, 1]
    assert log.value.tolist() == [13, 5, 1]
    assert log.items.titles is not None
    assert log.items.titles[0] == 'Björk "live"'
    assert log.items.tags == (("pop", "métal"), (), ())  # the one given more often first
    assert log.friends.tolist() == [[0, 1]]
    (tmp_path / "x" / "user_artists.dat").write_text("userID\tartistID\tweight\n2\t8\t1\n")
    with pytest.raises(DataError, match=r"user_artists.dat, row 1: artist 8 is not listed"):
        sets.load(tmp_path / "x")


def test_sequences_of_artists(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", train__jsonl="[2, 0]\n[1]\n", items__tsv="0\tAir\n1\tBjörk\n2\tCan\n")
    log = sets.load(folder)
    assert log.user.tolist() == [0, 0, 1]
    assert log.items.titles is not None
    assert [log.items.titles[i] for i in log.item] == ["Can", "Air", "Björk"]
    assert log.time is None
    for line, said in (
        ("{}", "expected a list"),
        ("[1.5]", "expected a list"),
        ("[]", "expected a list"),
        ("[1,", "Expecting"),
    ):
        write(folder, train__jsonl=f"[2]\n{line}\n")
        with pytest.raises(DataError, match=f"train.jsonl, line 2: {said}"):
            sets.load(folder)
    write(folder, train__jsonl="[5]\n")
    with pytest.raises(DataError, match="item 5 is not listed"):
        sets.load(folder)


def test_sequences_with_semantic_ids(tmp_path: Path) -> None:
    codes = {"1": ["<a_3>", "<b_0>"], "0": ["<a_255>", "<b_1>"]}
    folder = write(tmp_path / "x", sequences__jsonl="[1, 0, 1]\n", semantic_ids__json=json.dumps(codes))
    log = sets.load(folder)
    assert log.items.codes.tolist() == [[255, 1], [3, 0]]
    assert log.item.tolist() == [1, 0, 1]
    write(folder, semantic_ids__json='{"one": ["<a_1>"]}')
    with pytest.raises(DataError, match="a code for every item number"):
        sets.load(folder)
    write(folder, semantic_ids__json=json.dumps({**codes, "2": ["<a_1>"]}))
    with pytest.raises(DataError, match="item 2 has no code of 2 levels"):
        sets.load(folder)


REVIEW = {
    "reviewerID": "A",
    "asin": "X",
    "overall": 5.0,
    "unixReviewTime": 20,
    "summary": "Fine.",
    "reviewText": "It hums.",
}


def test_amazon_reviews(tmp_path: Path) -> None:
    later = REVIEW | {"unixReviewTime": 30, "overall": 1.0, "summary": "Broke.", "reviewText": None, "reviewerID": "B"}
    first = {name: REVIEW[name] for name in ("asin", "overall", "unixReviewTime")} | {"reviewerID": "B", "asin": "W"}
    lines = "\n".join(json.dumps(line) for line in (later, first, REVIEW))
    log = sets.load(write(tmp_path / "x", **{"reviews_Things_5__json.gz".replace(".", "__"): lines}))
    assert log.user_ids.tolist() == ["A", "B"]
    assert log.user.tolist() == [0, 1, 1]
    assert log.item.tolist() == [1, 0, 1]  # B's reviews in the order of time
    assert log.items.texts == ("", "Fine. It hums. Broke.")
    assert log.value.tolist() == [5, 5, 1]
    write(tmp_path / "z", Things_5__json=json.dumps(REVIEW | {"overall": "five"}))
    with pytest.raises(DataError, match=r"line 1: overall is 'five', no number"):
        sets.load(tmp_path / "z")
    write(tmp_path / "y", Things_5__json='{"asin": "X"}\n')
    with pytest.raises(DataError, match=r"Things_5.json, line 1: there is no reviewerID"):
        sets.load(tmp_path / "y")


def test_jester(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "x",
        ratings__csv__gz="user,joke,rating\n4,1,-9.5\n4,0,3\n",
        jokes__csv='joke,text\n0,"A ""b"""\n1,c\n',
    )
    log = sets.load(folder)
    assert log.items.texts == ('A "b"', "c")
    assert log.value.tolist() == [-9.5, 3]
    write(folder, ratings__csv__gz="user,joke,rating\n4,1,99\n")
    with pytest.raises(DataError, match="row 1: the rating is 99"):
        sets.load(folder)


def test_coat(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", train__ascii="0 3 0\r\n5 0 1\r\n")
    write(folder / "user_item_features", item_features__ascii="1 0\n0 1\n1 1\n", item_features_map__txt="men\nred\n")
    log = sets.load(folder)
    assert list(zip(log.user.tolist(), log.item.tolist(), log.value.tolist(), strict=True)) == [
        (0, 1, 3),
        (1, 0, 5),
        (1, 2, 1),
    ]
    assert log.items.tags == (("men",), ("red",), ("men", "red"))
    write(folder, train__ascii="0 3 0\n7 0 1\n")
    with pytest.raises(DataError, match="line 2, field 1: 7 is no star rating"):
        sets.load(folder)
    write(folder, train__ascii="0 3 0\n7 0\n")
    with pytest.raises(DataError, match="no matrix of numbers"):
        sets.load(folder)


def test_visits(tmp_path: Path) -> None:
    log = sets.load(
        write(
            tmp_path / "x", purchases__csv__gz="customer_id,date,cds,dollars\n002,19970112,1,12.0\n001,19970101,1,3\n"
        )
    )
    assert log.user_ids.tolist() == ["001", "002"]
    assert log.time.tolist() == [852076800.0, 853027200.0]  # 1 and 12 January 1997, midnight UTC
    write(tmp_path / "y", visits__csv__gz="CUSTOMER_ID,TRANSACTION_DT,items,spend\n1,2000-13-01,2,187\n")
    with pytest.raises(DataError, match="row 1: '2000-13-01' is no date"):
        sets.load(tmp_path / "y")


def test_open_bandit(tmp_path: Path) -> None:
    head = "timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,user_feature_2,user_feature_3\n"
    row = "2019-11-24 00:00:34.76+00:00,{},{},{},0.0125,a,b,c,{}\n"
    items = ",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n0,0,-0.5,p,q,r\n1,1,0.5,p,s,r\n"
    folder = write(
        tmp_path / "x",
        random_men__csv__gz=head + row.format(1, 3, 1, "d") + row.format(0, 1, 0, "e"),
        random_all__csv__gz=head + row.format(0, 2, 0, "d"),
        random_men_item_context__csv=items,
        random_all_item_context__csv=items,
    )
    log = sets.load(folder)
    assert log.items.ids.tolist() == ["all/0", "all/1", "men/0", "men/1"]
    assert log.n_users == 3
    assert sorted(zip(log.item.tolist(), log.position.tolist(), log.actions.tolist(), strict=True)) == [
        (0, 1, EXAMINED), (2, 0, EXAMINED), (3, 2, EXAMINED | CLICK),
    ]  # fmt: skip
    assert np.allclose(log.propensity, 0.0125)
    assert np.allclose(log.time, 1574553634.76)


def mind(folder: Path, slate: str = "N1-0 N2-1", time: str = "11/12/2019 2:14:46 PM") -> Path:
    return write(
        folder,
        behaviors__tsv=f"9\tU8\t{time}\tN7 N1\t{slate}\n4\tU3\t11/9/2019 12:00:01 AM\t\tN2-0\n",
        news__tsv='N2\tsports\tracing\tA "quoted" title\tText\tu\t[]\t[]\n',
    )


def test_mind(tmp_path: Path) -> None:
    log = sets.load(mind(tmp_path / "x"))
    assert log.user_ids.tolist() == ["U3", "U8"]
    assert log.items.ids.tolist() == ["N1", "N2", "N7"]
    assert log.items.titles == ("", 'A "quoted" title', "")
    assert log.items.categories == ((), ("sports",), ())
    assert log.user.tolist() == [0, 1, 1]
    assert log.position.tolist() == [0, 0, 1]
    assert log.slate.tolist() == [1, 0, 0]
    assert log.actions.tolist() == [EXAMINED, EXAMINED, EXAMINED | CLICK]
    assert log.time.tolist() == [1573257601.0, 1573568086.0, 1573568086.0]
    with pytest.raises(DataError, match="line 1: expected slots such as"):
        sets.load(mind(tmp_path / "x", slate="N1-0 N2"))
    with pytest.raises(DataError, match="line 1: '13/12/2019 2:14:46 PM' is no time"):
        sets.load(mind(tmp_path / "x", time="13/12/2019 2:14:46 PM"))


def test_ebnerd(tmp_path: Path) -> None:
    import datetime

    at = [datetime.datetime(2023, 2, 27, 3, 23, s) for s in (9, 7, 8)]
    frame = pl.DataFrame(
        {
            "impression_time": at,
            "article_ids_inview": [[5, 6], [7], [6, 5, 8]],
            "article_ids_clicked": [[6], [7], [5, 8]],
            "user_id": [2, 1, 2],
            "session_id": [30, 10, 30],
            "next_read_time": [4.0, None, 9.0],
        }
    )
    folder = tmp_path / "x"
    folder.mkdir()
    frame.write_parquet(folder / "behaviors.parquet")
    log = sets.load(folder)
    assert log.items.ids.tolist() == [5, 6, 7, 8]
    assert log.user.tolist() == [0, 1, 1, 1, 1, 1]
    assert log.items.ids[log.item].tolist() == [7, 6, 5, 8, 5, 6]
    assert [bool(a & CLICK) for a in log.actions] == [True, False, True, True, False, True]
    assert log.watch.tolist() == [0, 0, 0, 0, 0, 4]  # two clicks of one slate: whose time it was is not known
    assert log.session.tolist() == [0, 1, 1, 1, 1, 1]
    silent = frame.with_columns(article_ids_clicked=pl.Series([[], [7], [5, 8]], dtype=pl.List(pl.Int64)))
    silent.write_parquet(folder / "behaviors.parquet")
    assert sum(bool(a & CLICK) for a in sets.load(folder).actions) == 3
    frame.drop("session_id").write_parquet(folder / "behaviors.parquet")
    with pytest.raises(DataError, match="has no column session_id"):
        sets.load(folder)


def test_kuairec(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "x",
        small_matrix__csv="user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
        "14,3,4381,6067,2020-07-05 05:27:48.378,20200705,1593898068.378,0.72\n14,1,10,5000,x,1,1593898060.0,0.1\n",
        item_categories__csv='video_id,feat\n1,[8]\n2,"[27, 9]"\n',
    )
    log = sets.load(folder)
    assert log.items.ids.tolist() == [1, 2, 3]
    assert log.items.categories == (("8",), ("27", "9"), ())
    assert np.allclose(log.items.seconds, [5.0, np.nan, 6.067], equal_nan=True)
    assert np.allclose(log.watch, [0.01, 4.381])
    write(folder, item_categories__csv="video_id,feat\n1,nothing\n")
    with pytest.raises(DataError, match="line 2: 'nothing' is no list"):
        sets.load(folder)


def test_kuairand(tmp_path: Path) -> None:
    head = "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,play_time_ms,duration_ms,is_rand\n"
    folder = write(
        tmp_path / "x" if (tmp_path / "x").mkdir() else tmp_path / "x" / "data",
        log_standard_4_08_to_4_21_pure__csv=head + "0,11,20220408,400,1649400000500,1,1,0,0,0,0,0,2500,10000,0\n",
        log_random_4_22_to_5_08_pure__csv=head + "0,10,20220408,400,1649300000000,0,0,0,1,0,0,0,0,4000,1\n",
        video_features_basic_pure__csv='video_id,author_id,video_type,video_duration,tag\n12,7,NORMAL,9000,"39,8"\n11,6,NORMAL,,\n',
    )
    log = sets.load(folder.parent)
    assert log.items.ids.tolist() == [10, 11, 12]
    assert log.items.seconds.tolist() == [4.0, 10.0, 9.0]
    assert log.items.tags == ((), (), ("39", "8"))
    assert log.items.creators == ("", "6", "7")
    assert log.item.tolist() == [0, 1]
    assert log.actions.tolist() == [EXAMINED | COMMENT, EXAMINED | CLICK | LIKE]
    assert log.watch.tolist() == [0.0, 2.5]


# -- any table -----------------------------------------------------------------------------------------------

EVENTS = "uid,vid,ts,sec,liked,visit\nbo,30,1700000100,5.5,1,b\nal,20,1700000000,,0,a\nbo,20,1700000050,1,0,b\n"
COLUMNS = {"user": "uid", "item": "vid", "time": "ts", "watch": "sec", "like": "liked", "session": "visit"}


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path, mylog__csv=EVENTS, videos__csv="item,title,tags,seconds\n30,Thirty,a|b,60\n10,Ten,,\n")
    log = table.convert(tmp_path / "mylog.csv", COLUMNS, tmp_path / "out", items=tmp_path / "videos.csv", value_unit="")
    for found in (log, sets.load(tmp_path / "out")):
        assert found.name == "mylog"
        assert found.user_ids.tolist() == ["al", "bo"]
        assert found.items.ids.tolist() == [30, 10, 20]  # as listed, then what was only seen
        assert found.item.tolist() == [2, 2, 0]
        assert found.time.tolist() == [1700000000.0, 1700000050.0, 1700000100.0]
        assert found.watch.tolist() == [0.0, 1.0, 5.5]
        assert found.actions.tolist() == [EXAMINED, EXAMINED, EXAMINED | LIKE]
        assert found.session.tolist() == [0, 1, 1]
        assert found.items.titles == ("Thirty", "Ten", "")
        assert found.items.tags == (("a", "b"), (), ())
        assert np.allclose(found.items.seconds, [60.0, np.nan, np.nan], equal_nan=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mylog.csv",
        "out",
        "videos.csv",
    ]  # nothing half-written


def test_times_are_seconds_milliseconds_or_dates(tmp_path: Path) -> None:
    columns = {"user": "u", "item": "i", "time": "t"}
    for n, (text, unit) in enumerate(
        (("1700000000", "s"), ("1700000000000", "ms"), ("2023-11-14 22:13:20", "s"), ("2023-11-14T22:13:20Z", "s"))
    ):
        write(tmp_path, e__csv=f"u,i,t\na,b,{text}\n")
        assert table.convert(tmp_path / "e.csv", columns, tmp_path / str(n), time_unit=unit).time.tolist() == [1.7e9]


def test_bad_tables(tmp_path: Path) -> None:
    write(tmp_path, mylog__csv=EVENTS)
    path, out = tmp_path / "mylog.csv", tmp_path / "out"

    def refused(said: str, columns: dict[str, str], text: str = EVENTS, **more: str) -> None:
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            table.convert(path, columns, out, **more)  # type: ignore[arg-type]
        assert not out.exists()

    refused(r"has no column 'vidd'. Did you mean vid", COLUMNS | {"item": "vidd"})
    refused("has one column, 'uid;vid;.*': separate its columns by commas", COLUMNS, EVENTS.replace(",", ";"))
    refused("There is no column 'usr' of ours. Did you mean user", {"usr": "uid", "item": "vid"})
    refused("No column is named for item", {"user": "uid"})
    refused("'2.x' in the column for watch is no number", COLUMNS, EVENTS.replace("5.5", "2.x"))
    refused("'soon' is no time", COLUMNS, EVENTS.replace("1700000100", "soon"))
    refused("line 2: there is no item", COLUMNS, EVENTS.replace("bo,30", "bo,"))
    refused("holds no events", COLUMNS, EVENTS.partition("\n")[0] + "\n")
    refused("give s, ms or us", COLUMNS, time_unit="minutes")
    out.mkdir()
    with pytest.raises(DataError, match="exists: name a new folder"):
        table.convert(path, COLUMNS, out)


BROKEN = """uid,vid,ts,sec,liked,visit
al,20,1700000000,,0,a
bo,30,1700000100,5.5,1
bo,30,1700000100,5.5,1,b,c

,30,1700000100,5.5,1,b
bo,,1700000100,5.5,1,b
bo,30,soon,5.5,1,b
bo,30,,5.5,1,b
bo,30,1700000100,5.5,perhaps,b
bo,30,1700000100,"5.5,1,b
"b""o",30,1700000100,"5.5",true,"x,y"
b\xff,30,1700000100,5.5,1,b
cy,"30"x,1700000200,1,False,b
"""


def test_broken_lines_are_counted_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(BROKEN.replace("\n", "\r\n").encode("latin-1"))
    with pytest.raises(DataError, match=r"e.csv, line 3: it has 5 fields, not 6: mend it, or .* --skip-bad"):
        table.convert(path, COLUMNS, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    log = table.convert(path, COLUMNS, tmp_path / "out", skip_bad=True)
    assert log.user_ids.tolist() == ["al", 'b"o']
    assert log.watch.tolist() == [0.0, 5.5]
    assert log.actions.tolist() == [EXAMINED, EXAMINED | LIKE]
    assert log.items.ids.tolist() == [20, 30]
    assert table.skipped(tmp_path / "out") == [
        (3, "it has 5 fields, not 6"),
        (4, "it has 7 fields, not 6"),
        (6, "there is no user (uid)"),
        (7, "there is no item (vid)"),
        (8, "'soon' is no time"),
        (9, "'' is no time"),
        (10, "'perhaps' in the column for like is no number"),
        (11, "its quotes are not closed (an event is one line)"),
        (13, "it is not UTF-8"),
        (14, "its quotes are not closed (an event is one line)"),
    ]
    assert table.skipped(tmp_path) == []
    path.write_text("uid,vid\n,1\n")
    with pytest.raises(DataError, match="holds no events that are sound"):
        table.convert(path, {"user": "uid", "item": "vid"}, tmp_path / "none", skip_bad=True)


def test_broken_rows_of_a_parquet_file(tmp_path: Path) -> None:
    import polars as pl

    path, columns = tmp_path / "e.parquet", {"user": "u", "item": "i", "time": "t", "like": "l"}
    frame = {"u": [1, None, 3], "i": [7, 7, 9], "t": [1.7e9, 1.7e9, float("nan")], "l": [True, False, None]}
    pl.DataFrame(frame).write_parquet(path)
    with pytest.raises(DataError, match=r"e.parquet, row 2: there is no user \(u\)"):
        table.convert(path, columns, tmp_path / "out")
    log = table.convert(path, columns, tmp_path / "out", skip_bad=True)
    assert log.actions.tolist() == [EXAMINED | LIKE]
    assert [line for line, _ in table.skipped(tmp_path / "out")] == [2, 3]


def test_ids_that_overflow_are_words(tmp_path: Path) -> None:
    write(tmp_path, e__csv="u,i\n99999999999999999999,1\n2,1\n")
    log = table.convert(tmp_path / "e.csv", {"user": "u", "item": "i"}, tmp_path / "out")
    assert log.user_ids.tolist() == ["2", "99999999999999999999"]
    assert log.items.ids.tolist() == [1]


def test_times_in_another_unit(tmp_path: Path) -> None:
    write(tmp_path, e__csv="u,i,t\na,1,1700000000000\n")
    with pytest.raises(DataError, match="another unit, pass --time-unit ms"):
        table.convert(tmp_path / "e.csv", {"user": "u", "item": "i", "time": "t"}, tmp_path / "out")


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(DataError, match=r"x.parquet cannot be read"):
        table.convert(tmp_path / "x.parquet", COLUMNS, tmp_path / "out")
    with pytest.raises(DataError, match=r"no file .*nowhere.csv"):
        table.convert(tmp_path / "nowhere.csv", COLUMNS, tmp_path / "out")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ratings.csv.gz").write_bytes(b"\x1f\x8bnot gzip")
    write(tmp_path / "broken", jokes__csv="joke,text\n0,a\n")
    with pytest.raises(DataError, match=r"ratings.csv.gz cannot be read"):
        sets.load(tmp_path / "broken")


# -- folders and the command ----------------------------------------------------------------------------------


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    lastfm(tmp_path / "lastfm")
    with pytest.raises(DataError, match=r"no folder .*lastfn. Did you mean lastfm\?"):
        sets.load(tmp_path / "lastfn")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no log that jaxreco knows .*found nothing"):
        sets.load(tmp_path / "empty")


def test_data_inspect_and_list(tmp_path: Path) -> None:
    ran = CliRunner().invoke(cli.app, ["data", "inspect", str(lastfm(tmp_path / "x"))])
    assert ran.exit_code == 0, ran.output
    for words in ("3 in the catalog, 2 seen", "plays: 1 to 13", "1 pairs", "non-commercial", "events a user"):
        assert words in ran.output
    listed = CliRunner().invoke(cli.app, ["data", "list"], env={"COLUMNS": "200"})
    assert all(one.name in listed.output for one in sets.SETS)
    assert "format-tested only" in listed.output


def test_data_convert(tmp_path: Path) -> None:
    write(tmp_path, mylog__csv=EVENTS)
    args = [
        "data",
        "convert",
        "--csv",
        str(tmp_path / "mylog.csv"),
        "--columns",
        "user=uid,item=vid,time=ts",
        "--out",
        str(tmp_path / "out"),
    ]
    ran = CliRunner().invoke(cli.app, args)
    assert ran.exit_code == 0, ran.output
    assert "3 events of 2 users and 2 items" in ran.output.replace("\n", " ")
    (tmp_path / "mylog.csv").write_text(EVENTS + "bo\n")
    skipped = CliRunner().invoke(cli.app, [*args[:-1], str(tmp_path / "out2"), "--skip-bad"])
    assert skipped.exit_code == 0, skipped.output
    assert "Left out: 1 broken line, all listed in" in skipped.output
    assert "line 5: it has 1 fields, not 6" in skipped.output
    for wrong, said in (("user", "write OURS=THEIRS"), ("user=uid,user=vid", "names user twice")):
        refused = CliRunner().invoke(cli.app, [*args[:5], wrong, *args[6:]])
        assert refused.exit_code == 2
        assert said in refused.output


@pytest.mark.parametrize(
    ("folder", "events", "users", "items", "seen"),
    [
        ("movielens-100k", 90_500, 848, 1_682, 1_659),
        ("movielens-latest-small", 100_836, 610, 9_742, 9_724),
        ("lastfm-hetrec", 92_834, 1_892, 17_632, 17_632),
        ("instruments-2018", 181_381, 24_772, 9_922, 9_921),
        ("instruments-2014-reviews", 10_261, 1_429, 900, 900),
        ("jester", 215_909, 3_527, 100, 100),
        ("coat", 6_960, 290, 300, 300),
        ("open-bandit", 30_000, 675, 160, 160),
        ("ta-feng", 88_527, 28_610, 1, 1),
        ("cdnow", 49_086, 23_570, 1, 1),
        ("lastfm-sequences", 50_800, 976, 4_606, 4_606),
    ],
)
def test_real_files(folder: str, events: int, users: int, items: int, seen: int) -> None:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{folder} is not in {SHARED}")
    log = sets.load(SHARED / folder)
    assert (len(log), log.n_users, log.n_items, len(np.unique(log.item))) == (events, users, items, seen)


def test_real_slates() -> None:
    if not (SHARED / "mind-sample").is_dir():
        pytest.skip(f"mind-sample is not in {SHARED}")
    assert len(np.unique(sets.load(SHARED / "mind-sample").slate)) == 2_491
    news = sets.load(SHARED / "ebnerd-sample")
    assert (len(np.unique(news.slate)), len(np.unique(news.session)), news.n_users) == (1_046, 485, 38)
    assert news.time is not None
    assert (np.diff(news.time)[np.diff(news.user) == 0] >= 0).all()
