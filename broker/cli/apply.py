"""`knutpunkt apply`: the registry as files say it, for those who keep their city in git.

    read the files -> ask the broker what they would do (a dry run) -> show the difference -> apply

What would change is the broker's answer, by its own rules; nothing here decides it anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from broker.cli.difference import Change, lines
from broker.cli.files import Document, Unreadable, read_files
from broker.cli.kinds import KINDS, MEMBERS, PATHS, TENANT, bare
from broker.cli.remote import Refused, Remote, quoted, speaks_to_broker
from broker.cli.swaps import said_by

WRONG: Final = 2
"""Exit status when a file cannot be applied as it is."""
_KIND_OF: Final = {
    "models": "DeviceModel",
    "virtual-sensors": "VirtualSensor",
    "devices": "Device",
    "bindings": "Binding",
}
_OWNED: Final = frozenset(PATHS)


@dataclass(slots=True)
class Wanted:
    """What the files say."""

    documents: dict[str, list[tuple[Document, dict[str, Any]]]] = field(
        default_factory=lambda: {kind: [] for kind in KINDS}
    )
    """Kind -> (where it stands, its members), in order."""
    problems: list[str] = field(default_factory=list)
    """'file:document:member: what is wrong'."""


@click.command()
@click.option(
    "-f",
    "--file",
    "paths",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    required=True,
    help="A file of YAML or JSON, or a folder of them. More than once for several.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show the difference.")
@click.option("--owner", default="", help="Mark what the files have as kept by OWNER (managedBy).")
@click.option("--prune", is_flag=True, help="Delete what has OWNER's mark and is not in the files. Needs --owner.")
@said_by
@speaks_to_broker
def apply(
    url: str,
    token: str,
    paths: tuple[Path, ...],
    yes: bool,
    dry_run: bool,
    owner: str,
    prune: bool,
    by: str,
    why: str,
) -> None:
    """Bring the registry in step with files: DeviceModel, Device, VirtualSensor, Binding, Tenant.

    Shows the difference first. What is as the files say is left alone. A member that a file leaves out is as it is by
    default; things that no file names stay, unless --prune.

    \b
    knutpunkt export -o city.yaml
    knutpunkt apply -f city.yaml --dry-run
    knutpunkt apply -f city/ --owner city --prune
    """
    if prune and not owner:
        raise click.UsageError("--prune needs --owner: only what has an owner's mark is ever deleted.")
    try:
        wanted = _wanted(read_files(paths), owner)
    except Unreadable as error:
        click.echo(str(error), err=True)
        sys.exit(WRONG)
    remote = Remote(url, token)
    changes = _compared(remote, wanted, {"by": by, "why": why or "apply"})
    if wanted.problems:
        for problem in wanted.problems:
            click.echo(problem, err=True)
        sys.exit(WRONG)
    gone = _to_prune(remote, wanted, owner) if prune else []
    for change in [*changes, *(Change("-", kind, thing["id"], before=thing) for kind, thing in gone)]:
        for line in lines(change):
            click.echo(line)
    count = {sign: sum(change.sign == sign for change in changes) for sign in "+~"}
    click.echo(f"{count['+']} to create, {count['~']} to change, {len(gone)} to delete.")
    if dry_run or not (changes or gone):
        return
    if not yes:
        click.confirm("Go on?", abort=True)
    _apply(remote, wanted, changes, gone, {"by": by, "why": why or "apply"})


def _wanted(documents: Iterable[Document], owner: str) -> Wanted:
    wanted = Wanted()
    for document in documents:
        content = dict(document.content)
        kind = content.pop("kind", None)
        if kind not in KINDS:
            wanted.problems.append(f"{document.where}:kind: it must be one of {', '.join(KINDS)}, got {kind!r}.")
            continue
        if kind in _OWNED and owner:
            if content.get("managedBy", owner) != owner:
                wanted.problems.append(f"{document.where}:managedBy: it is {content['managedBy']!r}, not '{owner}'.")
                continue
            content["managedBy"] = owner
        if kind == TENANT and (not isinstance(content.get("id"), str) or len(content) != 1):
            wanted.problems.append(f"{document.where}:id: a Tenant has an id, which is a text, and nothing else.")
            continue
        wanted.documents[kind].append((document, content))
    return wanted


def _registry(wanted: Wanted) -> bytes:
    """The files' things as the body of an import."""
    made = {member: [content for _, content in wanted.documents[kind]] for kind, member in MEMBERS.items()}
    return json.dumps(made).encode()


def _compared(remote: Remote, wanted: Wanted, said: Mapping[str, str]) -> list[Change]:
    """What is different; problems go to `wanted`."""
    here = {tenant["id"] for tenant in remote.get("/api/v1/tenants")}
    changes = [
        Change("+", TENANT, content["id"], after=content)
        for _, content in wanted.documents[TENANT]
        if content["id"] not in here
    ]
    report = remote.send(
        "/api/v1/import/registry", _registry(wanted), "application/json", dryRun="true", swap="true", **said
    )
    for problem in report["problems"]:
        document, _ = wanted.documents[_KIND_OF[problem["kind"]]][problem["row"] - 1]
        member = f":{problem['member']}" if problem["member"] else ""
        wanted.problems.append(f"{document.where}{member}: {problem['detail']}")
    if wanted.problems or not report["changes"]:
        return changes
    now = json.loads(remote.download("/api/v1/export/registry"))
    present = {kind: {thing["id"]: thing for thing in now[member]} for kind, member in MEMBERS.items()}
    bound = {(one["virtualSensor"], one["channel"]): one["device"] for one in now["bindings"] if one["validTo"] is None}
    for change in report["changes"]:
        kind = _KIND_OF[change["kind"]]
        _, content = wanted.documents[kind][change["row"] - 1]
        changes += _difference(kind, change, content, present, bound)
    return changes


def _difference(
    kind: str,
    change: Mapping[str, Any],
    content: dict[str, Any],
    present: Mapping[str, Mapping[str, Any]],
    bound: Mapping[tuple[str, str], str],
) -> Iterator[Change]:
    """What one document changes."""
    thing, members, sensor = change["id"], tuple(change["members"]), content.get("virtualSensor")
    if kind != "Binding" and change["outcome"] == "created":
        yield Change("+", kind, thing, after=content)
    elif kind != "Binding" and members:
        yield Change("~", kind, thing, bare(kind, present[kind].get(thing, {})), bare(kind, content), members)
    if kind == "Device" and "virtualSensor" in change["what"]:
        yield Change("~" if sensor in present["VirtualSensor"] else "+", "VirtualSensor", str(sensor))
    if "binding" in change["what"]:
        before = bound.get((str(sensor), content.get("channel") or ""))
        device = content["device"] if kind == "Binding" else thing
        if kind == "Binding" and change["outcome"] == "changed":
            yield Change("~", "Binding", str(sensor), {}, content, members)
        else:
            yield Change(
                "~" if before else "+", "Binding", str(sensor), {"device": before}, {"device": device}, ("device",)
            )


def _to_prune(remote: Remote, wanted: Wanted, owner: str) -> list[tuple[str, dict[str, Any]]]:
    """What has the owner's mark and stands in no file: devices first, models last, as they refer to each other."""
    found: list[tuple[str, dict[str, Any]]] = []
    for kind in ("Device", "VirtualSensor", "DeviceModel"):
        named = {str(content.get("id")) for _, content in wanted.documents[kind]}
        if kind == "Device":
            named = {name.lower() for name in named}
        found += [(kind, thing) for thing in _all(remote, PATHS[kind], owner) if thing["id"] not in named]
    return found


def _all(remote: Remote, path: str, owner: str) -> Iterator[dict[str, Any]]:
    after = ""
    while page := remote.get(f"/api/v1/{path}", managedBy=owner, after=after, limit="1000"):
        yield from page
        after = page[-1]["id"]


def _apply(
    remote: Remote,
    wanted: Wanted,
    changes: list[Change],
    gone: list[tuple[str, dict[str, Any]]],
    said: Mapping[str, str],
) -> None:
    for change in changes:
        if change.kind == TENANT:
            remote.post("/api/v1/tenants", {"id": change.id})
    if any(change.kind != TENANT for change in changes):
        try:
            remote.send("/api/v1/import/registry", _registry(wanted), "application/json", swap="true", **said)
        except Refused as refused:
            for problem in refused.document.get("report", {}).get("problems", ()):
                document, _ = wanted.documents[_KIND_OF[problem["kind"]]][problem["row"] - 1]
                click.echo(f"{document.where}: {problem['detail']}", err=True)
            raise
    for kind, thing in gone:
        _unbound(remote, kind, thing, gone, said)
        remote.delete(f"/api/v1/{PATHS[kind]}/{quoted(thing['id'])}")
    click.echo("Done.")


def _unbound(
    remote: Remote,
    kind: str,
    thing: Mapping[str, Any],
    gone: list[tuple[str, dict[str, Any]]],
    said: Mapping[str, str],
) -> None:
    """Unbind a device from a virtual sensor that goes with it, and a virtual sensor that goes."""
    going = {other["id"] for each, other in gone if each == "VirtualSensor"}
    if kind == "Device":
        now = remote.get(f"/api/v1/devices/{quoted(thing['id'])}")["bindings"]
        sensors = [one["virtualSensor"] for one in now if one["validTo"] is None and one["virtualSensor"] in going]
    elif kind == "VirtualSensor":
        now = remote.get(f"/api/v1/virtual-sensors/{quoted(thing['id'])}")["bindings"]
        sensors = [thing["id"]] if any(one["validTo"] is None for one in now) else []
    else:
        sensors = []
    for sensor in sensors:
        remote.post(
            f"/api/v1/virtual-sensors/{quoted(sensor)}/unbind", {name: text for name, text in said.items() if text}
        )
