"""`streamtag audit`: who changed what, when and why, and whether the record stands as it was written."""

from typing import Annotated

import typer

from streamtag.cli.context import Output, OutputFormat, print_facts, print_json, print_table, settings, warn
from streamtag.control.audit_note import AuditNote
from streamtag.control.audit_proof import prove
from streamtag.control.store import ControlStore
from streamtag.domain.audit_chain import Head, Verified

app = typer.Typer(help="The record of all changes: show it, and prove that it stands.", no_args_is_help=True)

_ABOUT = ("number", "at", "action", "author", "reason")
_CHAIN = ("previous", "sha256")


@app.command()
def show(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many, newest first.")] = 20,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show changes of all kinds, newest first: by whom, when, why, and to what. JSON has every field."""
    entries = ControlStore(settings().settings.redis).audit(limit)
    if output is OutputFormat.JSON:
        print_json([{"id": entry.id, **entry.fields} for entry in entries])
        return
    rows = []
    for entry in entries:
        fields = entry.fields
        rest = [f"{name} {value}" for name, value in fields.items() if name not in (*_ABOUT, *_CHAIN) and _short(name)]
        at = fields.get("at", "")[:19].replace("T", " ")
        rows.append((fields.get("number", ""), at, *(fields.get(name, "") for name in _ABOUT[2:]), "\n".join(rest)))
    print_table(("entry", "at (UTC)", "action", "author", "reason", "about"), rows)


@app.command()
def verify(
    accept: Annotated[
        bool, typer.Option("--accept", help="Note the present newest entry even where this host has seen a later one.")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Prove that no entry was changed, removed or inserted, by the chain of hashes from the oldest to the newest.

    Where all stands, the newest entry is noted on this host (state_dir/audit): the next run tells whether Redis has
    lost it since. Exit code 0 when everything stands, 1 when not; the first bad entry is named.
    """
    loaded = settings().settings
    log = ControlStore(loaded.redis).audit_log
    proof = prove(log, AuditNote(loaded.state_dir, loaded.redis.namespace), accept=accept)
    if proof.unwritten:
        warn(proof.unwritten)
    ok = proof.found.fault is None
    if output is OutputFormat.JSON:
        print_json({"ok": ok, "noted": proof.noted, "kept": proof.kept, "found": proof.found})
    else:
        _print(proof.found, proof.noted)
    if not ok:
        raise typer.Exit(1)


def _print(found: Verified, noted: Head | None) -> None:
    fault = found.fault
    where = "" if fault is None else (f"entry {fault.entry}: " if fault.entry else "")
    print_facts(
        {
            "answer": "everything stands" if fault is None else f"NOT as it was written: {where}{fault.problem}",
            "proven": f"{found.entries:,} entries",
            "newest proven": f"{found.head.number} {found.head.sha256}" if found.head.number else None,
            "noted before": f"{noted.number} {noted.sha256}" if noted else "nothing on this host",
            "trimmed": f"{found.trimmed:,} entries before the oldest are not in the stream" if found.trimmed else None,
            "before the chain": f"{found.before:,} entries, which nothing proves" if found.before else None,
        }
    )


def _short(name: str) -> bool:
    """Hashes of documents are for machines."""
    return not name.endswith("sha256") and name not in ("verdict",)
