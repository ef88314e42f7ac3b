"""What `mimir quota`, `mimir password-policy` and `mimir operator host-info` print and refuse."""

from pathlib import Path

from tests.cli.conftest import Mimir, Recorder


def test_a_quota_is_shown_with_what_it_holds_for(appliance: Recorder, mimir: Mimir) -> None:
    appliance.gives(name="q", path="", role="", rate=897.3, interval=120, block_interval=300, inheritable=True)
    lines = [line.split() for line in mimir("quota", "read", "q").out.splitlines()]
    assert ["Path", "everything"] in lines
    assert ["Rate", "897.3"] in lines
    assert ["Interval", "2m"] in lines
    assert ["Block", "Interval", "5m"] in lines


def test_a_role_needs_the_path_of_its_login_method(appliance: Recorder, mimir: Mimir) -> None:
    assert mimir("quota", "write", "q", "--rate", "1", "--role", "web").code == 2
    assert appliance.requests == []


def test_a_rate_must_be_positive(appliance: Recorder, mimir: Mimir) -> None:
    for rate in ("0", "-1", "many"):
        assert mimir("quota", "write", "q", "--rate", rate).code == 2
    assert mimir("quota", "write", "q").code == 2
    assert appliance.requests == []


def test_a_password_policy_comes_from_a_file(appliance: Recorder, mimir: Mimir, tmp_path: Path) -> None:
    appliance.answers(204)
    file = tmp_path / "strong.hcl"
    file.write_text("length = 20\n")
    assert mimir("password-policy", "write", "strong", str(file)).code == 0
    assert appliance.only.json == {"policy": "length = 20\n"}


def test_a_generated_password_stands_alone(appliance: Recorder, mimir: Mimir) -> None:
    appliance.gives(password="aB3$x")
    assert mimir("password-policy", "generate", "strong").out == "aB3$x\n"


def test_host_info_shows_totals(appliance: Recorder, mimir: Mimir) -> None:
    appliance.gives(
        host={"hostname": "vault-1", "os": "linux", "kernelVersion": "6.1", "kernelArch": "x86_64"},
        cpu=[{}, {}],
        memory={"total": 8 << 30, "available": 3 << 30},
        disk=[{"path": "/", "free": 1 << 30, "total": 10 << 30}],
    )
    out = mimir("operator", "host-info").out
    assert "3.0 GiB free of 8.0 GiB" in out
    assert "1.0 GiB free of 10.0 GiB" in out


def test_host_info_of_another_shape_is_no_fault(appliance: Recorder, mimir: Mimir) -> None:
    appliance.gives(host=None, cpu="?", memory=[], disk=[1])
    assert mimir("operator", "host-info").code == 0
