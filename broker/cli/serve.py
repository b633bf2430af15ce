"""`knutpunkt serve` and `knutpunkt config`."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import get_type_hints

import click
import uvloop
from msgspec import NODEFAULT, Struct

from broker.app import serve_until_stopped
from broker.config import InvalidSetting, Settings, documented, load_settings
from broker.errors import BrokerError
from broker.logs import configure_logs
from broker.stores.base import StoreTooNew


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), envvar="KNUTPUNKT_CONFIG", help="TOML file.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="TCP port.  [default: 1026]")
@click.option("--store", help="sqlite:///PATH or mongodb://…  [default: sqlite:///knutpunkt.db]")
@click.option("--mqtt", multiple=True, metavar="URL", help="MQTT broker to subscribe to; may be given several times.")
@click.option("--coap/--no-coap", default=None, help="Serve CoAP for NB-IoT devices.  [default: no]")
@click.option("--log-level", help="debug, info, warning or error.  [default: info]")
@click.option("--log-format", help="console or json.  [default: console]")
def serve(
    file: Path | None,
    host: str | None,
    port: int | None,
    store: str | None,
    mqtt: tuple[str, ...],
    coap: bool | None,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Run the broker until it is told to stop (Ctrl-C, SIGTERM).

    Settings come from --config, then from KNUTPUNKT_… environment variables, then from these flags;
    `knutpunkt config` lists all of them.
    """
    flags = {
        "http.host": host,
        "http.port": port,
        "store.url": store,
        "mqtt": mqtt,
        "coap.enabled": coap,
        "log.level": log_level,
        "log.format": log_format,
    }
    try:
        settings = load_settings(file, os.environ, flags)
    except InvalidSetting as error:
        raise click.ClickException(str(error)) from None
    run(settings)


def run(settings: Settings) -> None:
    """Run a broker in this process; what keeps it from starting is said in one line."""
    configure_logs(settings.log)
    # What is loaded now stays for good, and what a request makes is freed by counting: looking for cycles as often as
    # Python does otherwise costs an eighth of the changes a second, and memory grows no less by it (bench/README.md).
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_until_stopped(settings))
    except* (InvalidSetting, StoreTooNew, OSError) as group:
        raise click.ClickException(_said(group)) from None
    except* BrokerError as group:
        raise click.ClickException(_said(group)) from None


def _said(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


TABLES = ("mqtt", "networks", "sources")
"""Settings of which there are several, a table each."""


@click.command()
def config() -> None:
    """List every setting with its default and meaning, as a TOML file to start from."""
    hints = get_type_hints(Settings)
    click.echo(
        "# Each can also be set by an environment variable: KNUTPUNKT_HTTP_PORT for port in [http], and so on.\n"
    )
    for name, text in documented(Settings):
        if not (isinstance(hints[name], type) and issubclass(hints[name], Struct)) and name not in TABLES:
            click.echo(f"# {text}\n# {name} = {_toml(_default(Settings, name))}\n")
    for name, hint in hints.items():
        section = hint if isinstance(hint, type) and issubclass(hint, Struct) else None
        if name in TABLES:
            section = hint.__args__[0]
        if section is None:
            continue
        click.echo(f"# {(section.__doc__ or '').strip().splitlines()[0]}")
        click.echo(f"# [[{name}]]" if name in TABLES else f"[{name}]")
        for setting, text in documented(section):
            click.echo(f"# {text}\n# {setting} = {_toml(_default(section, setting))}")
        click.echo()


def _default(section: type[Struct], setting: str) -> object:
    fields, defaults = section.__struct_fields__, section.__struct_defaults__
    from_the_end = len(fields) - fields.index(setting)
    default = defaults[-from_the_end] if from_the_end <= len(defaults) else NODEFAULT
    return "" if default is NODEFAULT else default


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{}"
    return repr(value)
