"""Which steps a start needs, and what the node does to what a refused PIN left behind."""

import shutil
from pathlib import Path

import pytest

from appliance.config import Config
from appliance.processes.node import forget_refused_pin, lock_data_directory
from appliance.processes.preparation import provision_token, steps_for
from core.errors import ConfigError


def dev(base: Path) -> Config:
    return Config.dev(base, "127.0.0.1:0", workers=1)


def test_a_copied_data_directory_gets_a_token_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SoftHSM's configuration names a directory: the copy would go on with the original's token."""
    made: list[Path] = []
    monkeypatch.setattr("softhsm.provisioning.provision", lambda token_dir, **_: made.append(token_dir))
    original, copy = tmp_path / "one", tmp_path / "two"
    (original / "softhsm").mkdir(parents=True)
    provision_token(dev(original))
    assert made == [original / "softhsm"]
    assert not any("provision_token" in step for step in steps_for(dev(original)))
    shutil.copytree(original, copy)
    assert any("provision_token" in step for step in steps_for(dev(copy)))


def test_a_restart_forgets_a_refused_pin(tmp_path: Path) -> None:
    config = dev(tmp_path)
    config.pin_refused_path.parent.mkdir()
    for _ in range(2):
        forget_refused_pin(config)
        assert not config.pin_refused_path.exists()
        config.pin_refused_path.write_text("CKR_PIN_INCORRECT")


def test_a_lock_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(ConfigError, match="cannot open the lock"):
        lock_data_directory(dev(tmp_path))
