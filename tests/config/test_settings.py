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


@pytest.mark.parametrize(
    "url",
    [
        "redis://:topsecret@h", "rediss://rater:topsecret@h:6380/0", "redis://rater:@h", "redis://:%74opsecret@h",
        "redis://h?password=topsecret", "redis://h?db=1&pass%77ord=topsecret", "unix:///s?password=topsecret",
        "redis://h?PASSWORD=topsecret", "rediss://h?ssl_password=topsecret",
    ],
)  # fmt: skip
def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    """Addresses are logged."""
    with pytest.raises(ConfigError, match="leave the password out of the address") as caught:
        load_settings(write(tmp_path, f"[redis]\nurl = '{url}'\n"))
    assert "topsecret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "asked",
    [
        "ssl_cert_reqs=none", "ssl_cert_reqs=optional", "ssl_cert_reqs=NONE", "ssl_cert_req%73=none",
        "SSL_CERT_REQS=none", "ssl_check_hostname=false", "ssl_check_hostname=0", "ssl_check_hostname=no",
        "ssl_cert_reqs=none&ssl_cert_reqs=required", "ssl_ca_certs=/ca.pem&ssl_check_hostname=f",
    ],
)  # fmt: skip
def test_a_certificate_that_would_not_be_checked_is_refused(tmp_path: Path, asked: str) -> None:
    with pytest.raises(ConfigError, match="certificate is always checked"):
        load_settings(write(tmp_path, f"[redis]\nurl = 'rediss://h:6380/0?{asked}'\n"))


@pytest.mark.parametrize(
    "url",
    [
        "rediss://h?ssl_ca_certs=/ca.pem", "rediss://h?ssl_cert_reqs=required&ssl_check_hostname=true",
        "redis://rater@h", "redis://[::1]:6379/1", "unix:///run/redis.sock?db=2",
    ],
)  # fmt: skip
def test_other_addresses_are_taken_as_they_are(tmp_path: Path, url: str) -> None:
    assert load_settings(write(tmp_path, f"[redis]\nurl = '{url}'\n")).redis.url == url


@pytest.mark.parametrize("url", ["redis://[h", "http://h", "h:6379", ""])
def test_what_is_no_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"redis\.url"):
        load_settings(write(tmp_path, f"[redis]\nurl = '{url}'\n"))


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://user:topsecret@crm.example/x", "leave user and password out"),
        ("https://user@crm.example/x", "leave user and password out"),
        ("http://crm.example/x", "must be https"),
        ("crm.example/x", "write an address"),
    ],
)
def test_a_webhooks_address_has_no_secret_and_is_encrypted(tmp_path: Path, url: str, named: str) -> None:
    text = f"[[webhook]]\nname = 'crm'\nurl = '{url}'\nsecret = {{ env = 'X' }}\n"
    with pytest.raises(ConfigError, match=named) as caught:
        load_settings(write(tmp_path, text))
    assert "topsecret" not in f"{caught.value} {caught.value.hint}"


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
