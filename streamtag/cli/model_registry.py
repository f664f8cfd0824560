"""`streamtag model publish|promote|aliases`: bundles in a place that others read, and what versions are called."""

import shlex
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from streamtag.cli.context import (
    Author,
    Output,
    OutputFormat,
    Reason,
    author_or_user,
    print_json,
    print_table,
    say,
    settings,
)
from streamtag.control.approval import policy_of
from streamtag.control.proposal import Who
from streamtag.domain.release import BundleRef
from streamtag.errors import RefusedError, SettingsError
from streamtag.model.admission import read_admitted
from streamtag.model.bundle import Bundle
from streamtag.model.bundle_checks import PLAIN_NAME
from streamtag.model.registry import find_bundle, locate
from streamtag.model.shipped import SHIPPED
from streamtag.model.store import BundleStore, Published

Spec = Annotated[str, typer.Argument(metavar="BUNDLE", help="name, name@version, name@alias or a path with a /.")]
Alias = Annotated[str, typer.Option("--alias", help="What the version shall be called.")]


def publish(
    bundle: Spec,
    to: Annotated[str, typer.Option("--to", help="Directory or fsspec URL, e.g. s3://bucket/bundles.")],
    output: Output = OutputFormat.TABLE,
) -> None:
    """Copy a bundle into a directory or to a URL that workers read; a version there is never changed.

    Published again with another signature, it gets that one: how keys are changed.
    """
    model = settings().settings.model
    path = find_bundle(bundle, model.directories)
    read_admitted(path, model)
    store = BundleStore(to)
    done = store.publish(path, trusted=model.trusted_keys)
    if output is OutputFormat.JSON:
        facts = {"created": done.created, "new_signature": done.new_signature, "mended": done.mended}
        print_json({"ref": msgspec.to_builtins(done.ref), "place": store.url, **facts})
        return
    say(f"{done.ref} is in {store.url}{already(done)}")
    say(f"sha256 {done.ref.sha256}")


def already(done: Published) -> str:
    """What else to say of a version that was published; nothing where it is new, and nobody was in the way."""
    said = "" if done.created else " already, with the same content"
    said += "; its signature is new" if done.new_signature else ""
    return said + (f"; these were damaged, and are written anew: {', '.join(done.mended)}" if done.mended else "")


def promote(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="name, name@version or name@alias.")],
    alias: Alias,
    reason: Reason,
    author: Author = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Give a version an alias where it is published, and propose a release.

    What decides does not change: workers follow releases alone, and the command that makes one is printed.
    """
    loaded = settings().settings
    who = Who(author_or_user(author), reason)
    found = [*who.problems(), *([] if PLAIN_NAME.fullmatch(alias) else [f"alias: {alias!r} is no plain name"])]
    if "/" in bundle:
        found.append(f"{bundle}: is a path; aliases are of published versions: `streamtag model publish` it first")
    if found:
        raise RefusedError("the alias is not valid", problems=found)
    at = locate(bundle, loaded.model.directories)
    if at.store.files.directory == SHIPPED:
        raise RefusedError(
            f"{at.name}@{at.version} is part of the package, which is not written to",
            hint="`streamtag model publish` copies it into one of model.directories.",
        )
    before = at.store.aliases(at.name)
    chosen = read_admitted(at.path(), loaded.model)
    moved = at.store.set_alias(
        alias, chosen.ref, author=who.author, reason=reason, at=datetime.now(UTC), based_on=before
    )
    _report_promotion(at.store, chosen, alias, before.aliases.get(alias), moved, reason, output)


def _report_promotion(
    store: BundleStore, bundle: Bundle, alias: str, before: Any, moved: bool, reason: str, output: OutputFormat
) -> None:
    ref = bundle.ref
    if output is OutputFormat.JSON:
        about = {"ref": msgspec.to_builtins(ref), "place": store.url, "alias": alias, "moved": moved}
        print_json({**about, "before": before and before.version, "proposal": release_command(ref, reason)})
        return
    was = f" (was version {before.version})" if before is not None and moved else ""
    say(f"{ref.name}@{alias} is version {ref.version} in {store.url}{was}" + ("" if moved else " already"))
    say_proposal(bundle, reason)


def say_proposal(bundle: Bundle, reason: str) -> None:
    """How the bundle would come to decide, and whether one person can make it."""
    say(f"Workers follow releases alone. To let it decide:\n  {shlex.join(release_command(bundle.ref, reason))}")
    policy = policy_of(settings().settings)
    critical = [] if policy.rule == "none" else policy.critical(bundle.labels, bundle.critical)
    if critical or policy.rule == "all":
        ask = ["streamtag", "change", "open", "--bundle", str(bundle.ref), "--reason", reason]
        why = f"critical: {', '.join(critical)}" if critical else "changes.approval is all"
        say(f"That needs a second person ({why}). To ask for it:\n  {shlex.join(ask)}")


def release_command(ref: BundleRef, reason: str) -> list[str]:
    """The command that a promotion proposes."""
    return ["streamtag", "release", "promote", str(ref), "--reason", reason]


def aliases(
    name: Annotated[str, typer.Argument(help="Name of the bundles.")],
    place: Annotated[
        str | None, typer.Option("--place", help="Directory or URL; default: the first that has the name.")
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show the aliases of a bundle's versions, and every change of them."""
    if not PLAIN_NAME.fullmatch(name):
        raise SettingsError(f"{name!r} is no name of bundles; write it without version and alias")
    store = locate(name, settings().settings.model.directories).store if place is None else BundleStore(place)
    history = store.alias_history(name)
    if output is OutputFormat.JSON:
        print_json({"place": store.url, "aliases": history[0].aliases, "history": history})
        return
    say(f"{name} in {store.url}")
    print_table(("alias", "version", "sha256"), [(a, v.version, v.sha256[:12]) for a, v in history[0].aliases.items()])
    changes = [
        (
            one.revision,
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            one.author,
            one.changed,
            one.aliases[one.changed].version,
            one.reason,
        )
        for one in history
        if one.at is not None
    ]
    print_table(("change", "at (UTC)", "author", "alias", "version", "reason"), changes)
