"""`streamtag api`: the app in a server, following the champion and the breakers as a worker does."""

import ipaddress
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import uvicorn

from streamtag.api.access import Access
from streamtag.api.app import Parts, build
from streamtag.api.explaining import Explaining
from streamtag.api.scoring import Scoring
from streamtag.control.breaker_watcher import BreakerWatcher
from streamtag.control.change_schedule import ScheduleThread
from streamtag.control.sessions import SessionStore
from streamtag.control.store import ControlStore
from streamtag.control.tokens import TokenStore
from streamtag.control.watcher import ReleaseWatcher
from streamtag.domain.release import BundleRef
from streamtag.errors import SettingsError, UnavailableError
from streamtag.model.admission import load_admitted, release_bundle
from streamtag.model.scorer import Scorer
from streamtag.settings import ApiSettings, OidcSettings, Settings
from streamtag.stream.worker import Check, Readiness, StopSignals
from streamtag.telemetry.setup import start_telemetry

if TYPE_CHECKING:
    from streamtag.api.oidc import OidcProvider

__all__ = ["check_exposure", "oidc_provider", "run_api"]

log = logging.getLogger(__name__)

_DRAIN_S = 5


def run_api(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then answers what has come and ends.

    Raises:
        SettingsError: it would listen beyond this machine without TLS.
        UnavailableError: the port is taken.
    """
    api = settings.api
    check_exposure(api)
    signals = StopSignals()  # uvicorn hands on what it was ended by
    with ExitStack() as stack:
        instance = f"{os.uname().nodename}-{os.getpid()}"
        telemetry = start_telemetry(settings.telemetry, role="api", instance=instance)
        stack.callback(telemetry.close)
        store = ControlStore(settings.redis)
        stack.callback(store.close)
        watcher = ReleaseWatcher(settings, load=_loader(settings), metrics=telemetry.metrics, store=store)
        watcher.start()
        stack.callback(watcher.close)
        breakers = BreakerWatcher(settings, metrics=telemetry.metrics, store=store)
        breakers.start()
        stack.callback(breakers.close)
        scoring = Scoring(
            watcher.current,
            batch=settings.model.batch,
            max_events=api.max_waiting,
            deadline_s=api.deadline_ms / 1000,
            breakers=breakers.current,
        )
        scoring.start()
        stack.callback(scoring.close)
        explaining = Explaining()
        stack.callback(explaining.close)
        readiness = Readiness(telemetry.health, lambda: {"release": _release_check(watcher)})
        readiness.start()
        stack.callback(readiness.close)
        schedule = ScheduleThread(settings, telemetry.metrics)
        schedule.start()
        stack.callback(schedule.close)
        tokens = TokenStore(store)
        access = Access(tokens, SessionStore(store, tokens), oidc=oidc_provider(settings.oidc))
        app = build(Parts(settings, store, access, scoring, explaining, telemetry.metrics))
        server = uvicorn.Server(_config(app, api))
        signals.forward(lambda: setattr(server, "should_exit", True))
        try:
            server.run()
        except SystemExit:
            raise UnavailableError(f"cannot listen on {api.host}:{api.port}", hint="Set api.port, or --port.") from None


def check_exposure(api: ApiSettings) -> None:
    """Refuses to carry tokens over a network in clear text.

    Raises:
        SettingsError: the address is not of this machine alone, and there is no TLS.
    """
    if _loopback(api.host) or api.tls_certificate is not None or api.behind_tls:
        return
    raise SettingsError(
        f"api.host: {api.host} can be reached from elsewhere, and tokens would travel in clear text",
        hint="Set api.tls_certificate and api.tls_key, or api.behind_tls where a proxy in front ends TLS.",
    )


def oidc_provider(oidc: OidcSettings) -> "OidcProvider | None":
    """What knows the tokens of the configured issuer; None where there is none.

    Raises:
        SettingsError: the extra is not installed.
    """
    if oidc.issuer is None:
        return None
    try:
        from streamtag.api.oidc import OidcProvider  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"oidc.issuer needs the package {error.name}", hint="Install the extra: pip install 'streamtag[oidc]'."
        ) from None
    return OidcProvider(oidc)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _config(app: object, api: ApiSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # FastAPI's app is one
        host=api.host,
        port=api.port,
        ssl_certfile=api.tls_certificate,
        ssl_keyfile=api.tls_key,
        log_config=None,
        access_log=False,  # paths may hold names; requests are counted
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_S,
    )


def _loader(settings: Settings) -> Callable[[BundleRef], Scorer]:
    model = settings.model
    return lambda ref: load_admitted(release_bundle(ref, model), model, ref=ref)


def _release_check(watcher: ReleaseWatcher) -> Check:
    status = watcher.status()
    return status.ready, "; ".join(status.reasons)
