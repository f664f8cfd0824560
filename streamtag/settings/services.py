"""Settings of what stands around the stream: API, Redis, models, guard rails, telemetry."""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from streamtag.settings.section import BundlePlace, HomePath, Name, PublicKey, Section


class ApiSettings(Section):
    """`streamtag api`: the HTTP API."""

    host: str = Field("127.0.0.1", description="Address to listen on; another one than loopback asks for TLS")
    port: int = Field(8484, ge=0, le=65_535, description="Port to listen on; 0 = any that is free")
    tls_certificate: HomePath | None = Field(None, description="PEM file with the certificate and its chain")
    tls_key: HomePath | None = Field(None, description="PEM file with its key")
    behind_tls: bool = Field(
        False, description="Something before it ends TLS: listening without it beyond loopback is meant"
    )
    max_events: int = Field(1_000, ge=1, le=100_000, description="Texts or events in one request")
    max_waiting: int = Field(8_000, ge=1, description="Events of all requests that wait; more are refused with 429")
    max_requests: int = Field(
        128,
        ge=1,
        le=10_000,
        description="Scoring requests answered at once; more are refused with 429, and are not read",
    )
    max_request_bytes: int = Field(
        1_000_000, ge=1_000, description="Length of all scoring requests at once, unless one alone is longer; likewise"
    )
    max_body_bytes: int = Field(8_000_000, ge=1_000, description="Longest scoring request; of any other 4 MB")
    review_seconds: float = Field(
        30.0,
        gt=0,
        le=86_400,
        description="A person looks at one tagged event for so long: what-ifs tell the time it takes",
    )
    deadline_ms: int = Field(1_000, ge=10, description="A scoring request that waits for longer is refused with 429")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.max_events > self.max_waiting:
            raise ValueError(f"max_events ({self.max_events}) must be at most max_waiting ({self.max_waiting})")
        return self


class OidcSettings(Section):
    """Signing in to the API and the console by an OpenID Connect provider."""

    issuer: str | None = Field(None, description="URL of the provider, as its tokens name it; none: only our tokens")
    client_id: str = Field("", description="Of the API, as the provider knows it")
    client_secret: str | None = Field(None, description="Its secret, best by the environment; none: a public client")
    client_secret_file: HomePath | None = Field(None, description="File with the secret instead")
    audience: str | None = Field(None, description="`aud` of bearer tokens that are accepted; none: client_id")
    role_claim: str = Field("roles", description="Claim with groups or roles; dots lead into objects, e.g. a.roles")
    roles: dict[str, Literal["viewer", "reviewer", "operator", "admin"]] = Field(
        default_factory=dict, description="Value of that claim to role, the highest counts; others may do nothing"
    )
    name_claim: str = Field("preferred_username", description="Claim with the name that changes are made in; else sub")
    scope: str = Field("openid profile email", description="What signing in asks the provider for")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.issuer is None:
            return self
        parts = urlsplit(self.issuer)
        if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("issuer must be an https:// URL: whoever can change what it says is let in")
        if not self.client_id:
            raise ValueError("client_id is missing: a token for anybody would be a token for us")
        if self.client_secret is not None and self.client_secret_file is not None:
            raise ValueError("give client_secret or client_secret_file, not both")
        return self


class RedisSettings(Section):
    """Where thresholds, releases, audit and fleet live."""

    url: str = Field("redis://127.0.0.1:6379/0", description="redis://, rediss:// or unix:// URL")
    namespace: Name = Field("default", description="Prefix of every key: one per independent pipeline")
    poll_interval_s: float = Field(2.0, gt=0, le=60, description="Safety net: look for a change this often")
    timeout_s: float = Field(2.0, gt=0, le=60, description="Longest wait for one answer")
    heartbeat_s: float = Field(
        1.0, gt=0, le=60, description="A worker reports to the fleet this often; stale after 5 x"
    )

    @model_validator(mode="after")
    def _url_is_redis(self) -> Self:
        if not self.url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("url must start with redis://, rediss:// (TLS) or unix:// (socket)")
        try:
            _ = urlsplit(self.url).port
        except ValueError:
            # Its own message could quote a password.
            raise ValueError("url is malformed; in a password, write / as %2F, # as %23, @ as %40") from None
        return self


class ModelSettings(Section):
    """Where bundles are found, and which one seeds an empty Redis."""

    bundle: str = Field("moderation", description="Bundle of the very first release: name, name@version or a path")
    directories: list[BundlePlace] = Field(
        default_factory=list,
        description="Directories and fsspec URLs searched for bundles before the shipped ones; a URL's are kept in "
        "`$XDG_CACHE_HOME/streamtag/bundles`",
    )
    trusted_keys: list[PublicKey] = Field(
        default_factory=list,
        description="minisign public keys (`RW…`): a bundle is loaded only if one of them signed it; empty = any is",
    )
    taxonomy: HomePath | None = Field(
        None, description="YAML file of the taxonomy; a bundle with labels that it does not know is refused"
    )
    batch: int = Field(96, ge=1, le=4_096, description="Texts per model run, cut from a batch by length")


class ExperimentSettings(Section):
    """What experiments may cost the workers that take part."""

    budget_ms: int = Field(
        20,
        ge=0,
        le=1_000,
        description="Longest wait for a candidate with a bundle of its own: per batch (split), or per commit (shadow; "
        "there at most a twentieth of the commit interval)",
    )


class ThresholdSettings(Section):
    """Guard rails of a threshold change."""

    max_step: float = Field(0.25, gt=0, le=1, description="Largest change of one threshold without --force")


class ChangeSettings(Section):
    """Which changes one person cannot make alone."""

    approval: Literal["none", "critical", "large", "all"] = Field(
        "critical",
        description="A second person approves: nothing; what touches critical labels; steps above thresholds.max_step, "
        "too, even with --force; everything",
    )


class BreakerSettings(Section):
    """When a label that is tagged too often is turned to review only, and trusted again."""

    rates: dict[str, float] = Field(
        default_factory=dict,
        description="Label to the share of events beyond which its breaker opens; `*` = every other label",
    )
    window: Literal["1m", "5m", "1h"] = Field("5m", description="The newest window of this width is looked at")
    min_alerts: int = Field(100, ge=1, description="Fewer alerts in the window open nothing")
    close_ratio: float = Field(0.5, ge=0, le=1, description="Closes once the rate is at most this part of the bound")
    close_after_s: int | None = Field(
        600, ge=0, description="And not sooner after it opened, seconds; none = a person closes it"
    )

    @model_validator(mode="after")
    def _rates_are_shares(self) -> Self:
        wrong = [f"{label} ({rate:g})" for label, rate in self.rates.items() if not 0 < rate < 1]
        if wrong:
            raise ValueError(f"rates must be above 0 and below 1: {', '.join(wrong)}")
        return self


class TelemetrySettings(Section):
    """Metrics, traces, logs and health endpoints."""

    host: str = Field("127.0.0.1", description="Address of /metrics, /livez and /readyz")
    port: int | None = Field(None, ge=0, le=65_535, description="Their port: 0 = any free one, none = no endpoint")
    otlp_endpoint: str | None = Field(None, description="OTLP/HTTP collector, e.g. http://127.0.0.1:4318")
    trace_ratio: float = Field(0.01, ge=0, le=1, description="Share of batches traced when no sampled parent says so")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe level logged")
    log_format: Literal["auto", "text", "json"] = Field("auto", description="auto: text on a terminal, JSON elsewhere")

    @model_validator(mode="after")
    def _endpoint_is_http(self) -> Self:
        parts = urlsplit(self.otlp_endpoint or "http://none")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("otlp_endpoint must be an http:// or https:// URL, without /v1/…")
        return self
