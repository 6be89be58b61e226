"""What is said about series with gaps, steps that stand twice, and tables that are none."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from pipelines.errors import DataError
from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.data import check_data, load_data, load_test
from tasks.time_series_forecasting.data.stores import WindowStore

SMALL: dict[str, Any] = {"lookback": 4, "horizon": 2}


def days(count: int = 40) -> list[str]:
    return (np.datetime64("2020-01-01", "D") + np.arange(count)).astype(str).tolist()


def long(path: Path, change: Any = lambda lines: lines, series: str = "ab") -> str:
    """A table of series of 40 days, value = step; `change` gets its lines behind the first."""
    lines = [f"{name},{day},{step}" for name in series for step, day in enumerate(days())]
    path.write_text("series,time,value\n" + "\n".join(change(lines)) + "\n")
    return str(path)


def config(path: str, **options: Any) -> Config:
    return Config(data=path, **(SMALL | options))


def refusal(path: str, **options: Any) -> str:
    with pytest.raises(DataError) as error:
        load_data(config(path, **options))
    return str(error.value)


def values(path: str, split: str = "train", **options: Any) -> np.ndarray:
    """All of the pasts of the first series, as far as the windows of a split go: [steps]."""
    store = cast(WindowStore, load_data(config(path, **options)).splits[split])
    return np.asarray(store.of.panel.values[: int(store.of.panel.starts[1]), 0])


def without(*rows: int) -> Any:
    return lambda lines: [line for row, line in enumerate(lines) if row not in rows]


def empty(*rows: int) -> Any:
    return lambda lines: [line.rpartition(",")[0] + "," if row in rows else line for row, line in enumerate(lines)]


def test_missing_steps_are_named_and_filled_only_as_asked(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv", without(5, 6, 50))
    said = refusal(path)
    assert said.splitlines() == [
        "the data cannot be used in 2 places (mend them, fill gaps with --fill forward, linear or zero, or leave them "
        "unseen with --on-bad skip):",
        f"  series 'a', after {path} line 6: 2 steps are missing from 2020-01-06 on.",
        f"  series 'b', after {path} line 49: 1 step is missing from 2020-01-11 on.",
    ]
    assert values(path, fill="forward")[3:9].tolist() == [3, 4, 4, 4, 7, 8]
    assert values(path, fill="linear")[3:9].tolist() == [3, 4, 5, 6, 7, 8]
    assert values(path, fill="zero")[3:9].tolist() == [3, 4, 0, 0, 7, 8]
    assert np.isnan(values(path, on_bad="skip")[3:9]).tolist() == [False, False, True, True, False, False]
    assert load_data(config(path, fill="linear")).summary["filled"] == 3
    skipped = load_data(config(path, on_bad="skip")).summary["skipped"]
    assert [one["message"] for one in skipped][0] == "2 steps are missing from 2020-01-06 on."


def test_values_that_are_not_there_are_named_by_series_and_row(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv", empty(0, 1, 45, 46))
    said = refusal(path)
    assert f"series 'a', {path} line 2: 'value' has no value in 2 steps from 2020-01-01 on." in said
    assert f"series 'b', {path} line 47: 'value' has no value in 2 steps from 2020-01-06 on." in said
    # Before the first value there is nothing to fill from.
    said = refusal(path, fill="forward")
    assert "1 place " in said
    assert "before its first value, where nothing can be carried on" in said
    assert values(path, fill="zero")[:3].tolist() == [0, 0, 2]


def test_what_is_filled_by_a_guess_is_no_truth_and_zero_is(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv", without(5, 6))
    for fill, seen in (("forward", [0, 0]), ("linear", [0, 0]), ("zero", [1, 1])):
        store = cast(WindowStore, load_data(config(path, fill=fill)).splits["train"])
        at = store.windows.at(np.arange(len(store)))[1].tolist().index(5)
        assert store.fetch(np.array([at]))["future_seen"][0, :, 0].tolist() == seen, fill


def test_steps_that_stand_twice(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv", lambda lines: [*lines[:4], "a,2020-01-04,99", *lines[4:]])
    said = refusal(path)
    assert f"{path} line 6: is the second of 'a' at 2020-01-04T00:00:00, after {path} line 5: keep one." in said
    assert values(path, on_bad="skip")[:5].tolist() == [0, 1, 2, 3, 4]


def test_rows_in_another_order_are_sorted_with_a_warning(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv", lambda lines: lines[::-1])
    report = check_data(config(path))
    assert [(problem.level, problem.kind) for problem in report.problems] == [("warning", "unsorted-rows")]
    assert report.problems[0].where == f"{path} line 3"
    assert "as 77 more do" in report.problems[0].message
    assert values(path)[:5].tolist() == [0, 1, 2, 3, 4]


def test_times_between_two_steps(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv", lambda lines: [*lines[:3], "a,2020-01-03 12:00,7", *lines[3:]])
    assert "is at 2020-01-03T12:00:00, which is no whole number of steps (day) after the first" in refusal(path)
    assert values(path, on_bad="skip")[:5].tolist() == [0, 1, 2, 3, 4]
    times = np.cumsum(np.random.default_rng(0).integers(1_000, 90_000, 60))
    odd = tmp_path / "odd.csv"
    stamps = (np.datetime64("2020-01-01", "s") + times).astype(str)
    odd.write_text("time,x\n" + "".join(f"{when},{at}\n" for at, when in enumerate(stamps)))
    assert "the times are irregular" in refusal(str(odd))


def test_a_named_frequency_decides(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv")
    assert "is no whole number of steps (week)" in refusal(path, frequency="week") or "irregular" in refusal(
        path, frequency="week"
    )
    assert "missing" in refusal(path, frequency="12 hours")
    data = load_data(config(path, frequency="day"))
    assert data.summary["frequency"] == "day"
    assert load_data(config(path)).summary["frequency"] == "day (inferred)"


def test_cells_that_are_no_numbers_and_times_that_are_none(tmp_path: Path) -> None:
    path = long(
        tmp_path / "sales.csv",
        lambda lines: ["a,2020-01-01,x", "a,soon,1", ",2020-01-03,2", "a,2020-01-04,inf", *lines[4:]],
    )
    said = refusal(path)
    for part in (
        f"{path} line 2: holds 'x' in 'value', where a number belongs: mend it.",
        f"{path} line 3: has the time 'soon', which is none like the others: mend it.",
        f"{path} line 4: has no 'series': fill it in.",
        f"{path} line 5: holds a number in 'value' that is too large: mend it.",
    ):
        assert part in said
    assert {problem.kind for problem in check_data(config(path)).problems} >= {
        "no-number", "bad-time", "empty-series", "infinite",
    }  # fmt: skip


def test_offsets_and_none_in_one_table(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv", lambda lines: ["a,2020-01-01T00:00Z,1", *lines[1:]])
    assert "some times name an offset (2020-01-01T00:00Z) and some do not" in refusal(path)
    zoned = long(tmp_path / "zoned.csv", lambda lines: [line.replace(",2020-", ",2020-", 1) for line in lines])
    data = load_data(config(zoned, time_zone="UTC"))
    assert data.assets["frequency"]["zone"] == "UTC"


def test_missing_covariates_and_statics_that_vary(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    lines = [
        f"a,{day},{step},{'' if step == 7 else step % 2},{'x' if step < 9 else 'y'}" for step, day in enumerate(days())
    ]
    path.write_text("series,time,value,promo,region\n" + "\n".join(lines) + "\n")
    columns = {"known": "promo", "static": "region"}
    said = refusal(str(path), columns=columns)
    assert f"series 'a', {path} line 9: 'promo' has no value in 1 step from 2020-01-08 on." in said
    assert f"{path} line 11: says another 'region' of 'a' than {path} line 2: keep one." in said
    data = load_data(config(str(path), columns={"known": "promo"}, fill="forward"))
    coding, known = data.assets["coding"]["known"][0], cast(WindowStore, data.splits["train"]).of.features.known
    assert known is not None
    np.testing.assert_allclose(known[5:9, 0] * coding["scale"] + coding["center"], [1, 0, 0, 0], atol=1e-6)


def test_a_text_in_a_covariate_of_numbers_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"

    def write(last: str) -> None:
        lines = [f"a,{day},{step},{last if step == 39 else step % 2}" for step, day in enumerate(days())]
        path.write_text("series,time,value,promo\n" + "\n".join(lines) + "\n")

    write("1")
    asked = config(str(path), columns={"known": "promo"})
    assets = load_data(asked).assets
    write("yes")
    with pytest.raises(DataError, match="column 'promo' holds 'yes', and the model was trained on numbers in it"):
        load_test(asked, assets)


def test_ragged_lines(tmp_path: Path) -> None:
    path = tmp_path / "Daily-train.csv"
    rows = {"D1": list(range(20)), "D2": [5.5] * 12, "D3": [1, 2, "", *range(4, 16)]}
    width = 21
    text = [",".join(f'"V{at}"' for at in range(1, width + 1))]
    text += [
        ",".join([f'"{name}"', *(f'"{value}"' for value in cells)] + [""] * (20 - len(cells)))
        for name, cells in rows.items()
    ]
    path.write_text("\n".join(text) + "\n")
    assert f"series 'D3', {path} line 4 value 3: 'value' has no value in 1 step from 2 on." in refusal(str(path))
    data = load_data(config(str(path), fill="linear"))
    panel = cast(WindowStore, data.splits["train"]).of.panel
    assert panel.lengths.tolist() == [20, 12, 15]
    assert panel.values[32:36, 0].tolist() == [1, 2, 3, 4]
    assert data.assets["frequency"]["season"] == 7
    path.write_text("\n".join([*text, text[1]]) + "\n")
    assert f"{path} line 5: is the second of 'D1': keep one." in refusal(str(path))
    path.write_text("\n".join([text[0], text[1].replace('"3"', '"three"')]) + "\n")
    assert f"{path} line 2: holds 'three' as value 4 of 'D1', where a number belongs" in refusal(str(path))


def test_a_folder_is_a_series_a_file(tmp_path: Path) -> None:
    for number, name in enumerate(("north", "south")):
        lines = [f"{day},{step + 100 * number}" for step, day in enumerate(days())]
        (tmp_path / f"{name}.csv").write_text("date,load\n" + "\n".join(lines) + "\n")
    data = load_data(config(str(tmp_path)))
    panel = cast(WindowStore, data.splits["train"]).of.panel
    assert (panel.series, panel.channels) == (["north", "south"], ["load"])
    assert panel.values[40:43, 0].tolist() == [100, 101, 102]
    (tmp_path / "west.csv").write_text("date,wind\n2020-01-01,1\n")
    assert "belongs to a table of other columns than the first: 'load' is only in one of the two" in refusal(
        str(tmp_path)
    )


def test_folders_of_splits(tmp_path: Path) -> None:
    lines = [f"{day},{step}" for step, day in enumerate(days())]
    for split, part in (("Train", lines[:34]), ("Test", lines[34:])):
        (tmp_path / split).mkdir()
        (tmp_path / split / "x.csv").write_text("date,load\n" + "\n".join(part) + "\n")
    data = load_data(config(str(tmp_path)))
    assert cast(WindowStore, data.splits["test"]).ids(np.array([0])) == ["load@2020-02-04"]
    assert "the test is as given" in data.protocol


@pytest.mark.parametrize(
    ("name", "text", "columns", "said"),
    [
        ("a.csv", "time,city\n2020-01-01,Rome\n2020-01-02,Oslo\n", None, "holds texts in 'city'"),
        ("a.csv", "time,series,x\n2020-01-01,a,1\n", None, "which column holds their values: map columns value=COLUMN"),
        ("a.csv", "day,x\n2020-01-01,1\n", {"time": "dat"}, "has no column 'dat': did you mean 'day'"),
        ("a.csv", "time,x\n2020-01-01,1\n", {"known": "x", "value": "x"}, "maps 'x' of .* to two roles"),
        ("a.csv", "time\n2020-01-01\n", None, "holds no column of values"),
        ("a.csv", "time,x\n", None, "has no rows"),
        ("a.csv", "time,x\n2020-01-01,1\n", None, "no series has two steps"),
        ("a.csv", "time;x\n2020-01-01;1,5\n", None, "parts its columns by semicolons, and a .csv is read by commas"),
        ("a.csv", "time\tx\n2020-01-01\t1\n", None, "parts its columns by tabs"),
        ("a.csv", 'time,x\n2020-01-01,"1,5"\n', None, r"numbers with commas in 'x' \('1,5'\): write a point"),
        ("a.csv", 'time,series,y\n2020-01-01,a,"1,500"\n', None, r"numbers with commas in 'y' \('1,500'\)"),
        ("a.csv", 'time,x\n2020-01-01,"1.500,5"\n', {"value": "x"}, r"numbers with commas in 'x'"),
        ("a.csv", "time,series,y\n2020-01-01,a,two\n", None, "texts in 'y' .'two'., where numbers belong"),
        ("a.csv", "x,day\n1,2020-01-01\n2,2020-01-02\n", None, "holds times in 'day' .*: map columns time=day"),
        ("a.csv", "2020-01-01,7\n2020-01-02,8\n", None, r"line 1 holds values where the names .*\(2020-01-01, 7\)"),
        ("a.csv", "7.5,3\n8,4\n", None, "line 1 holds values where the names"),
        ("a.csv", "H1,5,3,4\nH2,1,2,3\nH3,5,6,\n", None, "line 1 holds values where the names"),
        ("a.csv", "id,a,b\nx,1\ny,2\n", None, "can be used, as .* line 2: has 2 values where the table has 3 columns"),
        ("a.csv", "time,x\n01/31/24,1\n02/01/24,2\n", None, "are no times that can be read"),
        ("a.txt", "time,x\n2020-01-01,1\n", None, "is of no known kind"),
    ],
)
def test_tables_that_cannot_be_read(
    tmp_path: Path, name: str, text: str, columns: dict[str, str] | None, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        load_data(config(str(path), columns=columns))


@pytest.mark.parametrize("names", ["0,1,2", "date,300,20", "id,1,2"])
def test_names_that_are_numbers(tmp_path: Path, names: str) -> None:
    path = tmp_path / "wide.csv"
    dated = names.startswith("date")
    lines = [f"{days()[step] if dated else step * 0.5},{step},{step % 7}" for step in range(40)]
    path.write_text(names + "\n" + "\n".join(lines) + "\n")
    assert load_data(config(str(path))).summary["channels"] == names.split(",")[dated:]


def test_dates_without_marks_of_which_one_is_wrong(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv", lambda lines: [line.replace("-", "") for line in lines])
    assert load_data(config(path)).summary["frequency"] == "day (inferred)"
    path = long(tmp_path / "sales.csv", lambda lines: ["a,2020010,0", *(line.replace("-", "") for line in lines[1:])])
    assert "line 2: has the time '2020010', which is none like the others" in refusal(path)


def test_numbers_of_steps_that_may_be_times(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_text("time,load\n" + "".join(f"{1_704_067_200 + 3600 * step},{step}\n" for step in range(40)))
    (problem,) = check_data(config(str(path))).problems
    assert (problem.level, problem.where) == ("warning", f"{path} line 2")
    assert "has 1704067200 as its time, which is read as a number of steps" in problem.message
    path.write_text("time,load\n" + "".join(f"{1900 + step},{step}\n" for step in range(40)))
    assert not check_data(config(str(path))).problems


def test_what_is_finer_than_32_bits(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"

    def problems(**columns: list[float]) -> list[str]:
        lines = [
            f"{day}," + ",".join(f"{column[at]!r}" for column in columns.values()) for at, day in enumerate(days())
        ]
        path.write_text(f"time,{','.join(columns)}\n" + "\n".join(lines) + "\n")
        return [f"{problem.kind} {problem.message}" for problem in check_data(config(str(path))).problems]

    steps = [float(step % 7) for step in range(40)]
    assert not problems(large=[1e12 * step for step in steps], same=[0.1] * 40, level=[1e5 + step for step in steps])
    (said,) = problems(fine=[1e9 + step for step in steps], small=[1e-30 * step for step in steps])
    assert said.startswith("too-fine begins 'wide', whose numbers in 'fine' differ by less than 32 bits can tell")
    assert problems(smallest=[1e-44 * step for step in steps])
    ragged = tmp_path / "m4.csv"
    cells = [",".join(str(1e9 * name + step) for step in steps[: 40 - name]) + "," * name for name in range(3)]
    ragged.write_text(
        "id,"
        + ",".join(f"V{at}" for at in range(40))
        + "\n"
        + "".join(f"s{at},{row}\n" for at, row in enumerate(cells))
    )
    assert [problem.where for problem in check_data(config(str(ragged))).problems if problem.kind == "too-fine"] == [
        f"{ragged} line 3", f"{ragged} line 4",
    ]  # fmt: skip


def test_squares_of_large_values_stay_finite(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv", lambda lines: [line + "e30" for line in lines])
    store = cast(WindowStore, load_data(config(path)).splits["test"])
    assert np.isfinite(store.truth(np.array([0]))["naive_squared"]).all()


def test_hours_at_which_clocks_are_set(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"

    def said(start: str, change: Any) -> str:
        hours = change((np.datetime64(start, "s") + np.arange(60) * np.timedelta64(1, "h")).astype(str).tolist())
        path.write_text("time,load\n" + "".join(f"{hour},{at}\n" for at, hour in enumerate(hours)))
        return refusal(str(path))

    spring, autumn, other = "2024-03-30T00:00:00", "2024-10-26T00:00:00", "2024-10-22T00:00:00"
    skipped, twice = lambda hours: hours[:26] + hours[27:], lambda hours: [*hours[:27], *hours[26:]]
    assert "missing from 2024-03-31T02:00 on: where clocks were set forward then, name the --time-zone" in said(
        spring, skipped
    )
    assert "keep one, or, where clocks were set back then, name the --time-zone" in said(autumn, twice)
    assert "--time-zone" not in said(other, skipped) + said(other, twice)


def test_days_of_a_zone_with_summer_time(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_text("time,load\n" + "".join(f"{day},{at}\n" for at, day in enumerate(days(200))))
    assert "write dates, without offset or --time-zone" in refusal(str(path), time_zone="Europe/Berlin")


def test_a_series_without_a_value(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv", empty(*range(40)))
    assert [problem.message for problem in check_data(config(path)).problems] == [
        "a: without a single value, so left out."
    ]


def test_counts_are_whole_and_not_below_0(tmp_path: Path) -> None:
    path = long(tmp_path / "sales.csv", lambda lines: [*lines[:3], "a,2020-01-04,-2", *lines[4:]])
    assert f"{path} line 5 holds -2 in 'value', which is below 0, and head negative-binomial is for counts" in refusal(
        path, head="negative-binomial"
    )
    assert load_data(config(path))
    path = long(tmp_path / "sales.csv", lambda lines: [*lines[:3], "a,2020-01-04,2.5", *lines[4:]])
    (said,) = load_data(config(path, head="negative-binomial")).summary["warnings"]
    assert said.startswith(f"{path} line 5: holds 2.5 in 'value', which is no whole number")


def test_tensorflow_data_sets_are_refused() -> None:
    with pytest.raises(DataError, match="series are not read from"):
        load_data(config("tfds:mnist"))


def test_nothing_needs_tensorflow(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = long(tmp_path / "sales.csv")
    code = (
        "import sys; from tasks.time_series_forecasting.config import Config; "
        "from tasks.time_series_forecasting import data; "
        f"c = Config(data={path!r}, lookback=4, horizon=2); data.check_data(c); d = data.load_data(c); "
        f"list(data.inputs([{path!r}], c, d.assets)); "
        "sys.exit(len({'tensorflow', 'keras', 'jax'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
