"""The settings file, `config/rater.toml`, as checked types. Only the top layer reads it; every other part is
handed its own piece.

Environment variables named ``RATER_<SECTION>__<KEY>`` override the file (``RATER_REDIS__URL``). Secrets come from
a file of mode 0600 or from an environment variable, never from the settings file itself.
"""

from __future__ import annotations

import ipaddress
import os
import stat
import tomllib
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from rater.errors import ConfigError

Port = Annotated[int, Field(ge=0, le=65535)]
TOKEN_LEAST = 16
WarningSpan = Annotated[int, Field(ge=2, le=600)]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a port on that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(_Part):
    """Where a secret is found. Exactly one of the two, or neither when none is needed."""

    file: Path | None = None
    env: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Secret:
        if self.file is not None and self.env is not None:
            raise ValueError("give file or env, not both")
        return self

    @property
    def given(self) -> bool:
        return self.file is not None or self.env is not None

    def read(self) -> str:
        """The secret's text. Raises ConfigError when it is missing or readable by others."""
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise ConfigError(
                    f"the environment variable {self.env} is not set",
                    hint="Set it, or name a file instead: { file = '…' }.",
                )
            return value
        if self.file is None:
            return ""
        try:
            mode = self.file.stat().st_mode
            text = self.file.read_text().strip()
        except OSError as error:
            raise ConfigError(
                f"cannot read the secret file {self.file}: {error.strerror}",
                hint="Create it with mode 0600, owned by the user that runs rater.",
            ) from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(
                f"the secret file {self.file} can be read by others", hint=f"Run: chmod 600 {self.file}"
            )
        return text


class RedisSettings(_Part):
    """`url`: an outside server; without it an embedded one keeps its data under `data_dir`. `cluster`: the server
    is a node of a Redis Cluster."""

    url: str | None = None
    cluster: bool = False
    password: Secret = Secret()
    data_dir: Path = Path("var/redis")
    prefix: str = Field(default="rater", pattern=r"^[a-z][a-z0-9_.-]{0,31}$")
    shards: int = Field(default=1, ge=1, le=1024)
    timeout_ms: int = Field(default=500, ge=10, le=60_000)

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str | None) -> str | None:
        """An address is logged and told in errors, so that it holds no password; and TLS is always checked."""
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            asked = {(key.lower(), value.lower()) for key, value in parse_qsl(parts.query)}
        except ValueError as error:
            raise ValueError(f"is no address: {error}") from error
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("write redis://HOST:PORT, rediss://HOST:PORT for TLS, or unix:///PATH")
        names = {key for key, _ in asked}
        if parts.password is not None or names & {"password", "ssl_password"}:
            raise ValueError("leave the password out of the address: password = { file = 'PATH' } beside it")
        # Each of them: of a name that is given twice the client takes the first.
        checked = {("ssl_cert_reqs", "required"), ("ssl_check_hostname", "true")}
        if any(pair not in checked for pair in asked if pair[0] in ("ssl_cert_reqs", "ssl_check_hostname")):
            raise ValueError("the server's certificate is always checked: name its authority, ?ssl_ca_certs=PATH")
        return url

    @model_validator(mode="after")
    def _cluster_has_url(self) -> RedisSettings:
        if self.cluster and (self.url is None or self.url.startswith("unix:")):
            raise ValueError("cluster = true needs url = 'redis://HOST:PORT', any node of the cluster")
        return self


class SwitchSettings(_Part):
    """One AMI connection. `fail`: what a gated call gets while no decision can be had. `warn_before_s`: how long
    before a cut the paying side is warned."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    host: str = "127.0.0.1"
    port: Port = 5038
    tls: bool = False
    tls_ca: Path | None = None
    user: str = "rater"
    secret: Secret = Secret()
    login: Literal["md5", "plain"] = "md5"
    mode: Literal["gate", "watch", "shadow"] = "gate"
    fail: Literal["open", "closed"] = "closed"
    heartbeat_ms: int = Field(default=1000, ge=100, le=10_000)
    warn_before_s: list[WarningSpan] = Field(default=[], max_length=4)


class ChargingSettings(_Part):
    first_slice_s: int = Field(default=30, ge=1, le=3600)
    long_slice_s: int = Field(default=60, ge=1, le=3600)
    short_slice_s: int = Field(default=2, ge=1, le=60)
    extend_ahead_ms: int = Field(default=5000, ge=200, le=60_000)
    decision_timeout_ms: int = Field(default=1500, ge=50, le=10_000)
    shed_after_ms: int = Field(default=500, ge=50, le=2500)


class MqttSettings(_Part):
    host: str | None = None
    port: Port = 1883
    tls: bool = False
    tls_ca: Path | None = None
    user: str | None = None
    password: Secret = Secret()
    prefix: str = Field(default="rater", pattern=r"^[^#+/\s][^#+\s]*$")
    client_id: str = "rater"


class PublishSettings(_Part):
    """`files`: a folder for JSON lines, one file a day. `keep_hours`: how long delivered entries stay in the
    outbox, for `rater events`. `drop_unread_days`: how long entries stay that no group is there to read; None: for
    ever. `dead_letters`, `dead_letter_days`: most of them in a shard, and for how long. `metrics_port`: the
    publisher is a process of its own; None: it serves none."""

    files: Path | None = None
    keep_hours: int = Field(default=24, ge=0, le=24 * 366)
    drop_unread_days: int | None = Field(default=None, ge=1, le=3660)
    dead_letters: int = Field(default=100_000, ge=100, le=10_000_000)
    dead_letter_days: int = Field(default=90, ge=1, le=3660)
    metrics_port: Port | None = None


class WebhookSettings(_Part):
    """One HTTP endpoint that records are posted to. `kinds` and `accounts` (shell patterns; none: all) say which.
    `batch`: the most records in one request; 1 sends each by itself, without an envelope. `previous_secret` signs
    too, while a receiver changes over."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    url: str = Field(max_length=2000)
    secret: Secret
    previous_secret: Secret = Secret()
    kinds: tuple[Literal["rated", "denied", "threshold"], ...] = Field(
        default=("rated", "denied", "threshold"), min_length=1
    )
    accounts: tuple[str, ...] = ()
    batch: int = Field(default=1, ge=1, le=500)
    timeout_s: float = Field(default=10.0, ge=0.1, le=120)
    tls_ca: Path | None = None
    proxy: str | None = None

    @field_validator("url")
    @classmethod
    def _https(cls, url: str) -> str:
        """In the clear only to this machine itself: a signature hides nothing."""
        parts = urlsplit(url)
        if not parts.hostname or parts.scheme not in ("http", "https"):
            raise ValueError("write an address such as https://crm.example/rater")
        if parts.username is not None or parts.password is not None:
            raise ValueError("leave user and password out of the address: requests are signed instead")
        if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("must be https; http is for this machine only (localhost)")
        return url


class SmtpSettings(_Part):
    """Mail about thresholds, to the addresses of `notify` in accounts.toml. `gather_s`: crossings within that span
    make one mail. `per_hour`: the most mails to one address of one account. `templates`: a folder with texts of the
    operator's own, ``<language>.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    host: str | None = None
    port: Port | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"
    tls_ca: Path | None = None
    user: str | None = None
    password: Secret = Secret()
    sender: str = Field(default="", alias="from")
    reply_to: str | None = None
    language: Literal["en", "fr", "pt_BR", "tr"] = "en"
    templates: Path | None = None
    gather_s: float = Field(default=30.0, ge=0, le=3600)
    per_hour: int = Field(default=6, ge=1, le=3600)
    give_up_hours: int = Field(default=48, ge=1, le=24 * 14)
    timeout_s: float = Field(default=30.0, ge=0.5, le=300)

    @model_validator(mode="after")
    def _usable(self) -> SmtpSettings:
        if self.host is None:
            return self
        if "@" not in parseaddr(self.sender)[1]:
            raise ValueError('from is missing or no address: write from = "Example Telecom <no-reply@example.com>"')
        if self.security == "none" and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("security = none is for a server on this machine only; use starttls or tls")
        return self

    @property
    def port_or_default(self) -> int:
        return self.port or {"starttls": 587, "tls": 465, "none": 25}[self.security]


class LedgerSettings(_Part):
    """`archive`: the folder that `rater ledger archive` moves closed months to. `keep_months`: so many before the
    current one stay in Redis."""

    archive: Path | None = None
    keep_months: int = Field(default=1, ge=0, le=240)


class MetricsSettings(_Part):
    """`token`: what a scrape must bring; without one only this machine is served. `certificate`, `key`: PEM files,
    to serve over TLS."""

    host: str = "127.0.0.1"
    port: Port | None = 9469
    token: Secret = Secret()
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _guarded(self) -> MetricsSettings:
        if not is_loopback(self.host) and not self.token.given:
            raise ValueError(
                f"host = {self.host!r} serves the network, so that a token is needed: token = {{ file = 'PATH' }} "
                "with at least 16 characters, which each scrape must bring; or host = '127.0.0.1'"
            )
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        return self

    def read_token(self) -> str:
        """Empty when none is asked for. Raises ConfigError for one that could be guessed."""
        token = self.token.read()
        if self.token.given and (len(token) < TOKEN_LEAST or not token.isascii() or not token.isprintable()):
            raise ConfigError(
                f"the token of [metrics] is too short or no plain text: {TOKEN_LEAST} characters at least",
                hint="Make one: openssl rand -hex 32 > PATH && chmod 600 PATH",
            )
        return token


class LogSettings(_Part):
    """`show_personal_data`: telephone numbers, mail addresses and names in full, for a search of a fault."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    json_lines: bool = False
    show_personal_data: bool = False


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="RATER_", env_nested_delimiter="__", extra="forbid", frozen=True)

    redis: RedisSettings = RedisSettings()
    switch: list[SwitchSettings] = []
    charging: ChargingSettings = ChargingSettings()
    mqtt: MqttSettings = MqttSettings()
    webhook: list[WebhookSettings] = []
    smtp: SmtpSettings = SmtpSettings()
    publish: PublishSettings = PublishSettings()
    ledger: LedgerSettings = LedgerSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @model_validator(mode="after")
    def _distinct_switches(self) -> Settings:
        ids = [switch.id for switch in self.switch]
        if len(ids) != len(set(ids)):
            raise ValueError("two switches have the same id")
        return self

    @model_validator(mode="after")
    def _distinct_webhooks(self) -> Settings:
        names = [webhook.name for webhook in self.webhook]
        if len(names) != len(set(names)):
            raise ValueError("two webhooks have the same name; it names what each has had so far")
        return self

    @property
    def publishes(self) -> bool:
        """Whether records go anywhere of themselves, so that a publisher is needed."""
        one_of_a_kind = (self.mqtt.host, self.publish.files, self.smtp.host)
        return any(each is not None for each in one_of_a_kind) or bool(self.webhook)


def load_settings(path: Path | None) -> Settings:
    """Read and check the file (None: defaults and environment only). Raises ConfigError, naming each key.

    Relative paths in the file count from the file's own folder.
    """
    raw: dict[str, object] = {}
    where = str(path) if path is not None else "environment"
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(
                f"cannot read the settings {path}: {error.strerror}", hint="Name the file with --config."
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {error}", hint="The file must be TOML in UTF-8.") from error
    unknown = [f"{where}: {key}: there is no such section" for key in raw if key not in Settings.model_fields]
    if unknown:  # among them names that would steer the reading itself
        raise ConfigError("\n".join(unknown), hint="See docs/configuration.md for every key.")
    try:
        settings = Settings.model_validate(raw) if not raw else Settings(**raw)  # type: ignore[arg-type]
    except SettingsError as error:
        raise ConfigError(
            f"environment: {error}", hint="A variable RATER_<SECTION> must hold JSON; set RATER_<SECTION>__<KEY>."
        ) from error
    except ValidationError as error:
        lines = [f"{where}: {'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise ConfigError("\n".join(lines), hint="See docs/configuration.md for every key.") from error
    return _anchored(settings, path.parent if path is not None else Path.cwd())


def _anchored(settings: Settings, folder: Path) -> Settings:
    """The same settings with every relative path made absolute."""

    def anchor(value: object) -> object:
        if isinstance(value, Path):
            return value if value.is_absolute() else (folder / value).resolve()
        if isinstance(value, BaseModel):
            return value.model_copy(update={k: anchor(getattr(value, k)) for k in type(value).model_fields})
        if isinstance(value, list):
            return [anchor(item) for item in value]
        return value

    anchored = anchor(settings)
    assert isinstance(anchored, Settings)
    return anchored
