"""TLS and SASL as Faust's client is told of them: each of librdkafka's options is honoured, or refused by name.

All other roles speak through librdkafka. An option that was left out here in silence could be the one that checks whom
we speak to.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from streamtag.errors import SettingsError
from streamtag.kafka_options import FAUST_MECHANISMS, FAUST_SASL, FAUST_TLS
from streamtag.settings import KafkaSettings

__all__ = ["Security", "read_security"]

Options = Mapping[str, str | int | float | bool]

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_HINT = (
    "Its client is Faust's, not librdkafka: docs/configuration.md lists what it takes. PEM files in ssl.ca.location, "
    "ssl.certificate.location and ssl.key.location stand for stores and for PEM in the settings."
)


@dataclass(frozen=True)
class Security:
    """How to connect; without ``mechanism`` there is no SASL, and without ``tls`` no TLS."""

    tls: ssl.SSLContext | None = None
    mechanism: str | None = None
    username: str = ""
    password: str = field(default="", repr=False)


def read_security(kafka: KafkaSettings) -> Security:
    """What ``kafka.client`` and ``kafka.consumer`` ask for.

    Raises:
        SettingsError: an option cannot be honoured, or names what cannot be used. Values are not quoted.
    """
    options: Options = {**kafka.client, **kafka.consumer}
    protocol = str(options.get("security.protocol", "PLAINTEXT")).upper()
    if protocol not in _PROTOCOLS:
        raise _refusal(f"security.protocol {protocol}")
    tls, sasl = protocol.endswith("SSL"), protocol.startswith("SASL")
    unknown = [
        f"kafka.{'consumer' if name in kafka.consumer else 'client'}.{name}"
        for name in options
        if (tls and name.startswith(("ssl.", "ssl_", "enable.ssl.")) and name not in FAUST_TLS)
        or (sasl and name.startswith(("sasl.", "enable.sasl.")) and name not in FAUST_SASL)
    ]
    if unknown:
        raise _refusal(", ".join(unknown))
    context = _context(options) if tls else None
    if not sasl:
        return Security(context)
    # As in librdkafka, where nobody chooses one: a password must not go out by another mechanism than was meant.
    mechanism = str(options.get("sasl.mechanism", options.get("sasl.mechanisms", "GSSAPI"))).upper()
    if mechanism not in FAUST_MECHANISMS:
        raise _refusal(f"sasl.mechanism {mechanism} (it can {', '.join(FAUST_MECHANISMS)})")
    username, password = _text(options, "sasl.username"), _text(options, "sasl.password")
    if username is None or password is None:
        raise _refusal(f"sasl.mechanism {mechanism} without sasl.username and sasl.password")
    return Security(context, mechanism, username, password)


def _context(options: Options) -> ssl.SSLContext:
    place, pem = _text(options, "ssl.ca.location"), _text(options, "ssl.ca.pem")
    place = None if place == "probe" else place  # the system's, as where none is given
    directory = place is not None and Path(place).is_dir()
    with _naming("ssl.ca.location or ssl.ca.pem"):
        context = ssl.create_default_context(
            cafile=None if directory else place, capath=place if directory else None, cadata=pem
        )
    certificate, key = _text(options, "ssl.certificate.location"), _text(options, "ssl.key.location")
    if certificate is not None:
        password = _text(options, "ssl.key.password") or ""  # none at all: OpenSSL would ask the terminal
        with _naming("ssl.certificate.location, ssl.key.location or ssl.key.password"):
            context.load_cert_chain(certificate, key, password)
    elif key is not None:
        raise _refusal("ssl.key.location without ssl.certificate.location")
    if (ciphers := _text(options, "ssl.cipher.suites")) is not None:
        with _naming("ssl.cipher.suites"):
            context.set_ciphers(ciphers)
    algorithm = str(options.get("ssl.endpoint.identification.algorithm", "https")).lower()
    verified = str(options.get("enable.ssl.certificate.verification", True)).lower()
    if algorithm not in ("https", "none"):
        raise _refusal(f"ssl.endpoint.identification.algorithm {algorithm}")
    if verified not in ("true", "t", "1", "false", "f", "0"):  # as librdkafka reads them
        raise _refusal(f"enable.ssl.certificate.verification {verified}")
    trusted = verified in ("true", "t", "1")
    context.check_hostname = trusted and algorithm == "https"  # first: it cannot be had without the other
    context.verify_mode = ssl.CERT_REQUIRED if trusted else ssl.CERT_NONE
    return context


@contextmanager
def _naming(names: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # those of `ssl` are of the former kind
        raise SettingsError(f"kafka.client: `streamtag stats` cannot use {names}: {error}") from None


def _refusal(what: str) -> SettingsError:
    return SettingsError(f"kafka.client: `streamtag stats` cannot honour {what}", hint=_HINT)


def _text(options: Options, name: str) -> str | None:
    value = options.get(name)
    return None if value is None else str(value)
