from __future__ import annotations

import json
import math
import re
from dataclasses import asdict

import pytest

from lara.errors import DataError
from lara.evaluation.records import (
    CHECKSUM,
    EpisodeLog,
    EpisodeRecord,
    _checksum,
    read_records,
    record_from_dict,
)


def record(episode, success=True, error=None, task="reach"):
    return EpisodeRecord(
        task=task, episode=episode, success=success, steps=7, seconds=0.5, error=error, clipped=1, replans=2
    )


def test_what_is_appended_is_read_again(tmp_path):
    path = tmp_path / "episodes.jsonl"
    written = [record(0), record(1, success=False), record(0, success=None, error="boom", task="other")]
    log = EpisodeLog(path)
    for r in written:
        log.append(r)
    assert read_records(path) == written
    assert list(EpisodeLog(path).records.values()) == written
    assert EpisodeLog(path).finished == {("reach", 0), ("reach", 1)}


def test_a_kill_at_any_byte_of_the_last_line_loses_that_line_only(tmp_path):
    path = tmp_path / "episodes.jsonl"
    for episode in range(2):
        EpisodeLog(path).append(record(episode))
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for cut in range(second, len(whole)):
        path.write_bytes(whole[:cut])
        assert read_records(path) == [record(0)]
        assert path.read_bytes() == whole[:cut]  # reading repairs nothing
        log = EpisodeLog(path)
        assert log.finished == {("reach", 0)}
        log.append(record(1))
        assert path.read_bytes() == whole


def test_duplicates_are_refused_but_an_error_may_be_retried(tmp_path):
    path = tmp_path / "episodes.jsonl"
    log = EpisodeLog(path)
    log.append(record(0, success=None, error="boom"))
    log.append(record(0, success=None, error="boom again"))
    log.append(record(0))
    with pytest.raises(DataError, match="twice"):
        log.append(record(0, success=False))
    with pytest.raises(DataError, match="twice"):
        log.append(record(0, success=None, error="late"))
    assert read_records(path) == [record(0)]
    line = path.read_bytes().splitlines(keepends=True)[-1]
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(DataError, match=r"episodes\.jsonl:4.*twice"):
        read_records(path)


@pytest.mark.parametrize(
    "line",
    [b"not json", b"\xff\xfe", b"[1]", b"{}", json.dumps({**asdict(record(1)), "more": 1}).encode()],
)
def test_a_damaged_line_is_an_error_with_its_number(tmp_path, line):
    path = tmp_path / "episodes.jsonl"
    EpisodeLog(path).append(record(0))
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=r"episodes\.jsonl:2"):
        read_records(path)


def test_every_flipped_byte_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "episodes.jsonl"
    log = EpisodeLog(path)
    for r in (record(0), record(1, success=False), record(2, success=None, error="boom")):
        log.append(r)
    whole = path.read_bytes()
    for k in range(len(whole)):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 1 << (k % 8)]) + whole[k + 1 :])
        for read in (read_records, EpisodeLog):
            with pytest.raises(DataError, match=r"episodes\.jsonl:[1-4]"):
                read(path)
    path.write_bytes(whole)
    assert len(read_records(path)) == 3


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("success", 1, "true, false or null"),
        ("success", "yes", "true, false or null"),
        ("steps", float("nan"), "a whole number of at least 0"),
        ("steps", 7.0, "a whole number of at least 0"),
        ("steps", True, "a whole number of at least 0"),
        ("episode", "0", "a whole number of at least 0"),
        ("episode", -1, "a whole number of at least 0"),
        ("seconds", float("inf"), "a finite number of at least 0"),
        ("seconds", None, "a finite number of at least 0"),
        ("clipped", None, "a whole number of at least 0"),
        ("replans", [2], "a whole number of at least 0"),
        ("task", 3, "a string"),
        ("error", False, "a string or null"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_wherever_it_comes_from(tmp_path, field, value, expected):
    path = tmp_path / "episodes.jsonl"
    data = {**asdict(record(1)), field: value}
    path.write_text(json.dumps(asdict(record(0)) | {CHECKSUM: _checksum(asdict(record(0)))}) + "\n")
    path.write_text(path.read_text() + json.dumps({**data, CHECKSUM: _checksum(data)}) + "\n")
    said = rf"episodes\.jsonl:2: field '{field}': expected {expected}, got {re.escape(repr(value))}"
    if isinstance(value, float) and not math.isfinite(value):
        said = r"episodes\.jsonl:2: expected one JSON record"  # such a number is no JSON
    with pytest.raises(DataError, match=said):
        read_records(path)
    with pytest.raises(DataError, match=f"field '{field}'"):
        record_from_dict(data, "an answer")


def test_success_and_error_exclude_each_other():
    for success, error in ((None, None), (True, "boom"), (False, "boom")):
        with pytest.raises(DataError, match="exactly when"):
            record(0, success=success, error=error)


def test_no_file_is_an_error_for_a_reader_and_a_beginning_for_a_writer(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_records(tmp_path / "nothing.jsonl")
    assert EpisodeLog(tmp_path / "nothing.jsonl").finished == set()
