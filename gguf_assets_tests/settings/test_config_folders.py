"""Configuration and state folder are found without valid settings: the same ones as with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gguf_assets.settings.load import config_folders, load_settings
from gguf_assets.settings.problems import InvalidSettings

BROKEN = [
    "environment: [",
    "environment: prod\n",
    "log_level: loud\n",
    "",
    "- a\n",
    "environment: staging\n\xff",
]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c").mkdir()
    return tmp_path


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.sets(
        st.sampled_from(["GGUF_ASSETS_CONFIG_DIR", "GGUF_ASSETS_STATE_DIR", "GGUF_ASSETS_DATA_DIR"])
    ),
    in_file=st.booleans(),
)
def test_a_wrong_variable_changes_no_folder(work, names, in_file):
    folders = {"GGUF_ASSETS_CONFIG_DIR": "c", "GGUF_ASSETS_STATE_DIR": "s", "GGUF_ASSETS_DATA_DIR": "d"}
    environ = {name: str(work / folders[name]) for name in names}
    loaded = load_settings(environ)
    if in_file:
        loaded.config_dir.mkdir(parents=True, exist_ok=True)
        (loaded.config_dir / "sync-config.yaml").write_text("storage: {data_directory: elsewhere}\n")
    try:
        loaded = load_settings(environ)
        expected = loaded.config_dir, loaded.state_dir
        assert config_folders(environ) == expected
        for wrong in ({"SYNC_MODE": "fulll"}, {"SYNC_ENVIRONMENT": "prod"}, {"GGUF_SYNC__NOTHING": "1"}):
            with pytest.raises(InvalidSettings):
                load_settings(environ | wrong)
            assert config_folders(environ | wrong) == expected
    finally:
        (loaded.config_dir / "sync-config.yaml").unlink(missing_ok=True)


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_is_no_obstacle(work, text):
    (work / "data" / "config").mkdir(parents=True)
    (work / "data" / "config" / "sync-config.yaml").write_bytes(text.encode("latin-1"))
    assert config_folders({}) == (work / "data" / "config", work / "data")


def test_a_file_that_is_wrong_elsewhere_still_moves_the_state(work):
    (work / "data" / "config").mkdir(parents=True)
    text = "log_level: loud\nstorage:\n  data_directory: elsewhere\n"
    (work / "data" / "config" / "sync-config.yaml").write_text(text)
    assert config_folders({}) == (work / "data" / "config", work / "elsewhere")


@pytest.mark.parametrize(
    "environ", [{"GGUF_ASSETS_CONFIG_DIR": "missing"}, {"GGUF_ASSETS_STATE_DIR": "s3://bucket/state"}]
)
def test_a_folder_that_cannot_be_one_is_refused(work, environ):
    with pytest.raises(InvalidSettings) as caught:
        config_folders(environ)
    assert next(iter(environ)) in caught.value.message
