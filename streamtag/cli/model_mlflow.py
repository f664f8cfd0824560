"""`streamtag model mlflow`: bundles from and to an MLflow model registry; a promotion there proposes a release here."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from streamtag.cli.context import Author, Output, OutputFormat, Reason, author_or_user, print_json, say, settings
from streamtag.cli.model_registry import already, release_command, say_proposal
from streamtag.control.proposal import Who
from streamtag.errors import BundleError, RefusedError
from streamtag.model.admission import read_admitted
from streamtag.model.aliases import Aliases
from streamtag.model.mlflow_registry import MlflowRegistry
from streamtag.model.registry import find_bundle
from streamtag.model.store import BundleStore

app = typer.Typer(help="Exchange with an MLflow model registry (extra: mlflow).", no_args_is_help=True)

Server = Annotated[
    str, typer.Option("--uri", envvar="MLFLOW_TRACKING_URI", help="MLflow server, e.g. http://127.0.0.1:5000.")
]


@app.command()
def export(
    bundle: Annotated[str, typer.Argument(help="name, name@version, name@alias or a path with a /.")],
    uri: Server,
    name: Annotated[str | None, typer.Option("--name", help="Registered model; default: the bundle's name.")] = None,
    alias: Annotated[str | None, typer.Option("--alias", help="Alias of the version over there.")] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Register a bundle as a version of a model in MLflow, once, and give it an alias there."""
    model = settings().settings.model
    found = read_admitted(find_bundle(bundle, model.directories), model)
    registered = name or found.ref.name
    version, created = MlflowRegistry(uri).export(found, registered, alias=alias)
    if output is OutputFormat.JSON:
        about = {"ref": msgspec.to_builtins(found.ref), "model": registered, "version": version}
        print_json({**about, "created": created, "alias": alias})
        return
    also = f", alias {alias}" if alias else ""
    say(f"{found.ref} is models:/{registered}/{version}" + ("" if created else ", as it was before") + also)


def _aliases(store: BundleStore) -> dict[str, Aliases]:
    """Those of every bundle; damaged ones are left out: where it is that bundle, publishing it says so."""
    found = {}
    for name in store.names():
        with suppress(BundleError):
            found[name] = store.aliases(name)
    return found


@app.command("import")
def import_(
    spec: Annotated[str, typer.Argument(metavar="MODEL", help="models:/NAME@ALIAS or models:/NAME/VERSION.")],
    uri: Server,
    to: Annotated[str, typer.Option("--to", help="Directory or fsspec URL that workers read (model.directories).")],
    reason: Reason,
    author: Author = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Publish the bundle of a model version, with the alias it was asked by, and propose a release.

    Signature, hashes and labels are checked as for any bundle. What decides does not change.
    """
    model = settings().settings.model
    who = Who(author_or_user(author), reason)
    if who.problems():
        raise RefusedError("an import needs an author and a reason", problems=who.problems())
    store = BundleStore(to)
    # Before MLflow is asked what its alias means, so that whoever moves one here from now on is not passed over. Which
    # bundle it will be, only its manifest says.
    before = _aliases(store) if "@" in spec else {}
    with MlflowRegistry(uri).fetched(spec) as fetched:
        bundle = read_admitted(fetched.path, model)
        if fetched.alias is not None:
            store.check_alias(fetched.alias, bundle.ref)
        done = store.publish(fetched.path, trusted=model.trusted_keys)
    ref = done.ref
    moved = fetched.alias is not None and store.set_alias(
        fetched.alias,
        ref,
        author=who.author,
        reason=reason,
        at=datetime.now(UTC),
        based_on=before.get(ref.name, Aliases()),
    )
    if output is OutputFormat.JSON:
        about = {"ref": msgspec.to_builtins(ref), "place": store.url, "alias": fetched.alias}
        facts = {"created": done.created, "new_signature": done.new_signature, "mended": done.mended}
        print_json({**about, **facts, "moved": moved, "proposal": release_command(ref, reason)})
        return
    say(f"{spec} is {ref} in {store.url}{already(done)}")
    if moved:
        say(f"{ref.name}@{fetched.alias} is version {ref.version} now")
    say_proposal(bundle, reason)
