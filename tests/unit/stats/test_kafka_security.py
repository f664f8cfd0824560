"""Faust's client does of TLS and SASL what the settings say, or `streamtag stats` refuses them by name."""

import contextlib
import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from faust.types.auth import AuthProtocol

from streamtag.errors import SettingsError
from streamtag.kafka_options import FAUST_SASL, FAUST_TLS
from streamtag.settings import KafkaSettings, Settings
from streamtag.stats import app, faust_app
from streamtag.stats.kafka_security import Security, read_security

Options = dict[str, str | int | float | bool]

LOGIN: Options = {"sasl.mechanism": "scram-sha-512", "sasl.username": "team-a-stats", "sasl.password": "s3cret"}
BOTH: Options = {"security.protocol": "sasl_ssl", **LOGIN}
TLS: Options = {"security.protocol": "SSL"}


def kafka(client: Options, **more: object) -> KafkaSettings:
    return KafkaSettings.model_validate({"client": client, **more})


@dataclass(frozen=True)
class Files:
    """A certificate that vouches for itself and for "broker", and its key, encrypted with "s3cret"."""

    certificate: Path
    key: Path

    @property
    def server(self) -> ssl.SSLContext:
        """A broker that wants to see a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key, "s3cret")
        context.load_verify_locations(self.certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    directory = tmp_path_factory.mktemp("tls")
    found = Files(directory / "certificate.pem", directory / "key.pem")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.datetime.now(datetime.UTC)
    uses = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    usage = dict.fromkeys((*uses, "encipher_only", "decipher_only"), False)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("broker")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    found.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encrypted = serialization.BestAvailableEncryption(b"s3cret")
    found.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted))
    return found


def read(client: Options, consumer: Options | None = None) -> Security:
    return read_security(kafka(client, consumer=consumer or {}))


def connect(options: Options, files: Files, name: str = "broker") -> ssl.SSLObject:
    """The broker's end of a connection; raises as the client would."""
    client = read({**TLS, **options}).tls
    assert client is not None
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(back, there, server_hostname=name),
        files.server.wrap_bio(there, back, server_side=True),
    )
    for end in ends * 4:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return ends[1]


@pytest.mark.parametrize(
    "name",
    [
        "ssl.keystore.location",
        "ssl.keystore.password",
        "ssl.certificate.pem",
        "ssl.key.pem",
        "ssl_key",
        "ssl.crl.location",
        "ssl.curves.list",
        "ssl.sigalgs.list",
        "ssl.engine.location",
        "ssl.providers",
        "sasl.kerberos.principal",
        "sasl.oauthbearer.config",
        "enable.sasl.oauthbearer.unsecure.jwt",
        "ssl.of.a.later.version",
    ],
)
def test_an_option_that_it_does_not_know_is_refused_by_name_and_its_value_is_not_told(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read({**BOTH, name: "t0p"})
    assert f"kafka.client.{name}" in refused.value.message
    with pytest.raises(SettingsError) as refused:
        read(BOTH, {name: "t0p"})
    assert f"kafka.consumer.{name}" in refused.value.message
    assert "t0p" not in refused.value.message + refused.value.hint


def test_a_broker_is_checked_unless_the_settings_say_otherwise(files: Files) -> None:
    known: list[Options] = [
        {"ssl.ca.location": str(files.certificate)},
        {"ssl.ca.pem": files.certificate.read_text(encoding="ascii")},
    ]
    for ours in known:
        connect(ours, files)
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            connect(ours, files, "somebody-else")
        connect({**ours, "ssl.endpoint.identification.algorithm": "none"}, files, "somebody-else")
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        connect({}, files)
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        connect({"ssl.ca.location": "probe", "ssl.endpoint.identification.algorithm": "none"}, files)
    connect({"enable.ssl.certificate.verification": False}, files, "somebody-else")
    connect({"enable.ssl.certificate.verification": "false"}, files, "somebody-else")


def test_a_directory_of_authorities_stands_in_place_of_those_of_the_system(tmp_path: Path) -> None:
    context = read({**TLS, "ssl.ca.location": str(tmp_path)}).tls
    assert context is not None
    assert context.get_ca_certs() == []


def test_it_shows_its_own_certificate(files: Files) -> None:
    ours: Options = {
        "ssl.ca.location": str(files.certificate),
        "ssl.certificate.location": str(files.certificate),
        "ssl.key.location": str(files.key),
        "ssl.key.password": "s3cret",
    }
    assert connect(ours, files).getpeercert()
    assert not connect({"ssl.ca.location": str(files.certificate)}, files).getpeercert()
    del ours["ssl.key.password"]
    with pytest.raises(SettingsError, match=r"ssl\.key\.password"):
        read({**TLS, **ours})
    with pytest.raises(SettingsError, match=r"ssl\.key\.location without ssl\.certificate\.location"):
        read({**TLS, "ssl.key.location": str(files.key)})


def test_ciphers_are_those_of_the_settings() -> None:
    context = read({**TLS, "ssl.cipher.suites": "ECDHE-ECDSA-AES256-GCM-SHA384"}).tls
    assert context is not None
    assert {c["name"] for c in context.get_ciphers() if c["protocol"] == "TLSv1.2"} == {"ECDHE-ECDSA-AES256-GCM-SHA384"}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ssl.ca.location": "/nowhere/ca.pem"}, "ssl.ca.location"),
        ({"ssl.ca.pem": "no pem"}, "ssl.ca.pem"),
        ({"ssl.certificate.location": "/nowhere/c.pem"}, "ssl.certificate.location"),
        ({"ssl.cipher.suites": "none-such"}, "ssl.cipher.suites"),
        ({"ssl.endpoint.identification.algorithm": "dns"}, "ssl.endpoint.identification.algorithm"),
        ({"enable.ssl.certificate.verification": "perhaps"}, "enable.ssl.certificate.verification"),
    ],
)
def test_what_cannot_be_used_is_named(options: Options, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read({**TLS, **options})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sasl.mechanism": "OAUTHBEARER"}, "OAUTHBEARER"),
        ({"sasl.username": "u", "sasl.password": "p"}, "GSSAPI"),
        ({"sasl.mechanisms": "PLAIN", "sasl.username": "u"}, r"sasl\.password"),
        ({"security.protocol": "SASL"}, r"security\.protocol SASL"),
    ],
)
def test_a_login_that_it_cannot_do_is_refused(options: Options, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read({"security.protocol": "SASL_PLAINTEXT", **options})


def test_faust_is_told() -> None:
    assert faust_app._credentials(kafka({})) is None
    assert faust_app._credentials(kafka({**LOGIN, "ssl.keystore.location": "unused"})) is None
    assert faust_app._credentials(kafka(TLS)).protocol == AuthProtocol.SSL
    plain = faust_app._credentials(kafka({**BOTH, "security.protocol": "SASL_PLAINTEXT"}))
    both = faust_app._credentials(kafka(BOTH))
    assert [found.protocol for found in (plain, both)] == [AuthProtocol.SASL_PLAINTEXT, AuthProtocol.SASL_SSL]
    assert (both.username, both.password, both.mechanism.value) == ("team-a-stats", "s3cret", "SCRAM-SHA-512")
    assert both.ssl_context.check_hostname
    assert "s3cret" not in repr(read(BOTH))


def test_it_is_refused_before_an_app_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "supervise", lambda *_: pytest.fail("started"))
    settings = Settings(kafka=kafka({**TLS, "ssl.keystore.location": "store.p12"}))
    with pytest.raises(SettingsError, match=r"kafka\.client\.ssl\.keystore\.location"):
        app.run(settings)


def test_what_is_honoured_is_what_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in (*FAUST_TLS, *FAUST_SASL))
