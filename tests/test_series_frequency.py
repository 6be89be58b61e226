"""Frequencies and times: told by the data, named by people, written back."""

import numpy as np
import pytest

from pipelines.errors import DataError
from pipelines.sources.columns import Texts
from pipelines.sources.times import read_times
from tasks.time_series_forecasting.frequency import Frequency, check, from_asset, infer, parse, precision, written


def micro(*times: str) -> np.ndarray:
    return np.array(times, "M8[us]").astype(np.int64)


def told(times: np.ndarray, are_times: bool = True) -> Frequency:
    return infer(np.zeros(len(times), int), times, are_times)


def texts(*names: str) -> Texts:
    found = list(dict.fromkeys(names))
    return Texts(np.array([found.index(name) for name in names], np.int32), found)


def times_of(*names: str, zone: str | None = None) -> np.ndarray:
    moments = read_times(texts(*names), zone, np.zeros(len(names), int))
    assert not moments.wrong
    return moments.values


@pytest.mark.parametrize(
    ("times", "name", "season"),
    [
        (np.arange(50) * 3_600_000_000, "hour", 24),
        (np.arange(50) * 900_000_000, "15 minutes", 96),
        (np.arange(50) * 86_400_000_000, "day", 7),
        (np.arange(50) * 7 * 86_400_000_000, "week", 52),
        (micro(*(f"2020-{month:02}-01" for month in range(1, 13))), "month", 12),
        (micro("2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30"), "month", 12),
        (micro("2020-01-15", "2020-04-15", "2020-07-15", "2020-10-15", "2021-01-15"), "quarter", 4),
        (micro("2019-07-01", "2020-07-01", "2021-07-01", "2022-07-01"), "year", 1),
    ],
)
def test_the_frequency_is_told_by_the_times(times: np.ndarray, name: str, season: int) -> None:
    frequency = told(times)
    assert (frequency.name, frequency.season) == (name, season)
    steps = frequency.steps(times[:1], times)
    assert steps.tolist() == list(range(len(times)))
    assert (frequency.at(times[:1], steps) == times).all()
    assert from_asset(frequency.told()) == frequency


def test_five_days_a_week_are_business_days() -> None:
    days = np.arange("2020-01-01", "2020-03-01", dtype="M8[D]")
    times = days[np.is_busday(days)].astype("M8[us]").astype(np.int64)
    frequency = told(times)
    assert (frequency.name, frequency.season) == ("business day", 5)
    assert (frequency.at(times[:1], np.arange(len(times))) == times).all()
    assert frequency.steps(times[:1], times).tolist() == list(range(len(times)))


def test_gaps_do_not_change_it_and_one_step_is_none() -> None:
    times = np.delete(np.arange(50) * 3_600_000_000, [5, 6, 20])
    assert told(times).name == "hour"
    assert told(np.array([1, 3, 5, 9]), are_times=False) == Frequency("number", 2, "step")
    with pytest.raises(DataError, match="name it with --frequency"):
        told(micro("2020-01-01"))


def test_names_are_read_as_people_write_them() -> None:
    assert check("15min") == check("15 minutes") == "15 minutes"
    assert (check("H"), check("D"), check("MS"), check("B"), check("Quarterly")) == (
        "hour", "day", "month", "business day", "quarter",
    )  # fmt: skip
    assert parse("2 hours") == Frequency("time", 7_200_000_000, "2 hours")
    assert check("24 hours") == "day"
    for odd in ("fortnight", "0 days", ""):
        with pytest.raises(ValueError, match="is no frequency"):
            check(odd)


def test_times_are_written_alike_in_every_batch() -> None:
    hourly = Frequency("time", 3_600_000_000, "hour")
    shown = precision(micro("2020-01-01"), hourly)
    assert written(micro("2020-01-01"), shown) == ["2020-01-01T00:00"]
    assert precision(micro("2020-01-01"), parse("month") or hourly) == "D"
    assert precision(micro("2020-01-01T00:00:07"), hourly) == "s"
    assert written(np.array([7]), precision(np.array([0]), Frequency("number", 1, "step"))) == ["7"]


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (("2020-01-02", "2020-01-03"), "2020-01-02"),
        (("2020-01-02 05:00", "2020-01-02T06:00:00.5"), "2020-01-02T05"),
        (("1990/1/2 0:00", "1990/1/3 0:00"), "1990-01-02"),
        (("20200102", "20200103"), "2020-01-02"),
        (("2.1.2020", "13.1.2020"), "2020-01-02"),
        (("2/1/2020", "13/1/2020"), "2020-01-02"),
        (("1/2/2020", "1/13/2020"), "2020-01-02"),
        (("2020-02", "2020-03"), "2020-02-01"),
        (("2020Q2", "2020Q3"), "2020-04-01"),
    ],
)
def test_times_are_read_however_they_are_written(names: tuple[str, ...], first: str) -> None:
    assert times_of(*names)[0] == micro(first)[0]


def test_offsets_become_utc() -> None:
    found = times_of("2020-01-01T00:00+01:00", "2020-01-01T01:00+0100", "2020-01-01T01:00Z")
    assert found.tolist() == micro("2019-12-31T23:00", "2020-01-01T00:00", "2020-01-01T01:00").tolist()
    with pytest.raises(DataError, match=r"some times name an offset \(2020-01-01T01:00Z\) and some do not"):
        times_of("2020-01-01T00:00", "2020-01-01T01:00Z")


def test_the_clock_of_a_zone_strikes_an_hour_twice_and_skips_one() -> None:
    hours = times_of(
        "2020-10-25 01:30", "2020-10-25 02:30", "2020-10-25 02:30", "2020-10-25 03:30", zone="Europe/Berlin"
    )
    assert np.diff(hours).tolist() == [3_600_000_000] * 3
    skipped = read_times(texts("2020-03-29 01:30", "2020-03-29 02:30"), "Europe/Berlin", np.zeros(2, int))
    assert list(skipped.wrong) == [1]
    assert "the clock of Europe/Berlin skips" in skipped.wrong[1]


def test_what_is_no_time_is_named() -> None:
    moments = read_times(texts("2020-01-01", "2020-01-02", "soon", "2020-01-04"), None, np.zeros(4, int))
    assert list(moments.wrong) == [2]
    assert "'soon'" in moments.wrong[2]
    with pytest.raises(DataError, match="are no times that can be read"):
        times_of("soon", "later")
    with pytest.raises(DataError, match="day or month first"):
        times_of("1/2/2020", "3/4/2020")
    assert times_of("1700", "1701").tolist() == [1700, 1701]
