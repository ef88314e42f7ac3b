"""What is counted, and that a scrape of one process answers for all."""

from pathlib import Path

import pytest

from appliance.lanes import LANES, Lanes
from appliance.metrics import Counter, EngineMeter, Gauge, Metrics, gauge_family, prometheus_text
from core.errors import ConfigError, InvalidRequestError, UnsupportedPathError
from tests.unit.system.conftest import TEAM, Desk

TYPES = ["transit", "system"]


def text(metrics: Metrics) -> list[str]:
    return prometheus_text(metrics.families()).decode().splitlines()


def test_one_scrape_answers_for_all_processes(tmp_path: Path) -> None:
    one, two = Metrics.open(tmp_path, TYPES), Metrics.open(tmp_path, TYPES)
    for worker in (one, two):
        worker.began()
        worker.ended("transit", 200, 0.0007)
        worker.count(Counter.TOKENS)
    two.began()
    lines = text(one)
    assert 'mimir_requests_total{mount_type="transit",status="2xx"} 2' in lines
    assert 'mimir_request_seconds_bucket{mount_type="transit",le="0.0005"} 0' in lines
    assert 'mimir_request_seconds_bucket{mount_type="transit",le="0.001"} 2' in lines
    assert 'mimir_request_seconds_count{mount_type="transit"} 2' in lines
    assert 'mimir_request_seconds_sum{mount_type="transit"} 0.0014' in lines
    assert "mimir_tokens_created_total 2" in lines
    assert "mimir_requests_in_flight 1" in lines
    assert "mimir_processes 2" in lines


def test_counters_outlive_their_process_and_gauges_do_not(tmp_path: Path) -> None:
    one, two = Metrics.open(tmp_path, TYPES), Metrics.open(tmp_path, TYPES)
    two.began()
    two.count(Counter.LOGINS, 5)
    two._lanes.close()  # as the kernel does for a killed process: nothing is tidied up
    lines = text(one)
    assert "mimir_logins_total 5" in lines
    assert "mimir_requests_in_flight 0" in lines
    successor = Metrics.open(tmp_path, TYPES)
    successor.count(Counter.LOGINS)
    lines = text(one)
    assert "mimir_logins_total 6" in lines
    assert "mimir_requests_in_flight 0" in lines


def test_engines_count_what_the_appliance_knows_and_nothing_else(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path, TYPES)
    meter = EngineMeter(metrics)
    meter.count("key_rotated")
    meter.count("encryption_limit_near", 3)
    meter.count("encryption_limit_reached")
    before = text(metrics)
    for event, number in (("a key's name", 1), ("tokens_created_total", 1), ("key_rotated", -5), ("key_rotated", 0)):
        meter.count(event, number)
    assert text(metrics) == before
    assert "mimir_transit_keys_rotated_total 1" in before
    assert "mimir_transit_encryption_limit_warnings_total 3" in before
    assert "mimir_transit_encryption_limit_reached_total 1" in before


def test_an_unknown_mount_type_is_other(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path, TYPES)
    metrics.began()
    metrics.ended("from-elsewhere", 404, 100)
    lines = text(metrics)
    assert 'mimir_requests_total{mount_type="other",status="4xx"} 1' in lines
    assert 'mimir_request_seconds_bucket{mount_type="other",le="10.0"} 0' in lines
    assert 'mimir_request_seconds_bucket{mount_type="other",le="+Inf"} 1' in lines


def test_a_state_is_the_worst_of_all_processes(tmp_path: Path) -> None:
    one, two = Metrics.open(tmp_path, TYPES), Metrics.open(tmp_path, TYPES)
    two.set(Gauge.HSM_BREAKER, 1)
    one.set(Gauge.UNSEALED, -3)
    assert {"mimir_hsm_breaker_open 1", "mimir_unsealed 0"} <= set(text(one))


def test_another_layout_is_another_file(tmp_path: Path) -> None:
    Metrics.open(tmp_path, TYPES)
    Metrics.open(tmp_path, [*TYPES, "kv"])
    assert len(list(tmp_path.glob("metrics-*"))) == 2


def test_labels_are_escaped() -> None:
    family = gauge_family("x", "Two\nlines.", [((("mount", 'a"b\\c\n'),), 1.5)])
    assert prometheus_text([family]).decode() == (
        '# HELP mimir_x Two\\nlines.\n# TYPE mimir_x gauge\nmimir_x{mount="a\\"b\\\\c\\n"} 1.5\n'
    )


def test_lanes_are_taken_given_back_and_run_out(tmp_path: Path) -> None:
    taken = [Lanes.open(tmp_path / "lanes", lane_words=1) for _ in range(LANES)]
    with pytest.raises(ConfigError):
        Lanes.open(tmp_path / "lanes", lane_words=1)
    freed = taken[7].own
    taken[7].close()
    assert Lanes.open(tmp_path / "lanes", lane_words=1).own == freed
    reader = Lanes.open(tmp_path / "lanes", lane_words=1, reader=True)
    assert len(reader.starts()) == LANES


async def test_the_route_speaks_both_formats(desk: Desk) -> None:
    desk.metrics.count(Counter.LOGINS_FAILED)
    raw = (await desk.call("read", "metrics", query={"format": "prometheus"})).raw
    assert raw is not None
    assert raw.content_type.startswith("text/plain; version=0.0.4")
    assert b"\nmimir_logins_failed_total 1\n" in raw.body
    assert b'mimir_build_info{storage="sqlite",version="0.1.0"} 1\n' in raw.body
    raw = (await desk.call("read", "metrics")).raw
    assert raw is not None
    assert b'"Name":"mimir.logins_failed_total"' in raw.body


async def test_the_text_is_what_prometheus_reads(desk: Desk) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    desk.metrics.began()
    desk.metrics.ended("transit", 200, 0.2)
    raw = (await desk.call("read", "metrics", query={"format": "prometheus"})).raw
    assert raw is not None
    families = {family.name: family for family in text_string_to_metric_families(raw.body.decode())}
    assert families["mimir_request_seconds"].type == "histogram"
    assert families["mimir_requests"].samples[0].value == 1


async def test_other_formats_and_namespaces_are_refused(desk: Desk) -> None:
    with pytest.raises(InvalidRequestError):
        await desk.call("read", "metrics", query={"format": "openmetrics"})
    with pytest.raises(UnsupportedPathError):
        await desk.call("read", "metrics", within=TEAM)
