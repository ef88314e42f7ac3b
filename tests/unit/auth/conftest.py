"""A mount for each test."""

import pytest

from tests.unit.auth.login_mount import ApproleMount, UserpassMount


@pytest.fixture
def approle() -> ApproleMount:
    return ApproleMount()


@pytest.fixture
def userpass() -> UserpassMount:
    return UserpassMount()
