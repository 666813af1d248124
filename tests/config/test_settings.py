"""The settings file: what is accepted, and how what is not is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rater.config import Secret, Settings, load_settings
from rater.errors import ConfigError

ROOT = Path(__file__).parents[2]


def write(folder: Path, text: str) -> Path:
    path = folder / "rater.toml"
    path.write_text(text)
    return path


def test_the_sample_settings_are_valid_and_every_key_is_documented() -> None:
    load_settings(ROOT / "config/rater.toml")
    documented = (ROOT / "docs/configuration.md").read_text()
    schema = Settings.model_json_schema()
    for part in ("RedisSettings", "SwitchSettings", "ChargingSettings", "MqttSettings", "MetricsSettings"):
        for key in schema["$defs"][part]["properties"]:
            assert f"`{key}`" in documented, f"{part}.{key} is missing in docs/configuration.md"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[redis]\nurll = 'redis://x'\n", "redis.urll"),
        ("[[switch]]\nid = 'PBX 1'\n", "switch.0.id"),
        ("[[switch]]\nid = 'a'\nmode = 'gates'\n", "switch.0.mode"),
        ("[[switch]]\nid = 'a'\n[[switch]]\nid = 'a'\n", "same id"),
        ("[charging]\nshort_slice_s = 0\n", "charging.short_slice_s"),
        ("[metrics]\nport = 70000\n", "metrics.port"),
        ("[redis\n", "rater.toml"),
        ("[[switch]]\nid = 'a'\nsecret = { file = 'x', env = 'Y' }\n", "not both"),
    ],
)
def test_a_fault_is_named_and_ends_with_exit_code_2(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        load_settings(write(tmp_path, text))
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the settings"):
        load_settings(tmp_path / "none.toml")


def test_relative_paths_count_from_the_files_folder(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "[redis]\ndata_dir = '../data'\n"))
    assert settings.redis.data_dir == (tmp_path / "../data").resolve()


def test_a_variable_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATER_REDIS__URL", "redis://127.0.0.1:6390/1")
    assert load_settings(write(tmp_path, "[redis]\nurl = 'redis://elsewhere'\n")).redis.url.endswith(":6390/1")


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("s3cret\n")
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="can be read by others") as caught:
        Secret(file=path).read()
    assert "chmod 600" in caught.value.hint
    path.chmod(0o600)
    assert Secret(file=path).read() == "s3cret"


def test_a_secret_whose_variable_is_not_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RATER_AMI_SECRET", raising=False)
    with pytest.raises(ConfigError, match="RATER_AMI_SECRET"):
        Secret(env="RATER_AMI_SECRET").read()
