"""Packages that tests fetch: without them a test fails and says what to do."""

import pytest

from tests.support import npm


def test_a_failing_npm_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(AssertionError, match="the npm registry must be reachable"):
        npm.installed("axe-core", "0.0.0-nowhere")
