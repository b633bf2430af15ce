"""The `knutpunkt` command."""

from __future__ import annotations

import sys

import click

from broker import __version__
from broker.cli.alarms import alarm
from broker.cli.apply import apply
from broker.cli.bulk import export, import_
from broker.cli.commands import command as command_group
from broker.cli.commands import send
from broker.cli.demo.command import demo
from broker.cli.demo.listen import listen
from broker.cli.devices import device, sensor
from broker.cli.edit import model
from broker.cli.keys import key
from broker.cli.model_check import model_check
from broker.cli.places import place
from broker.cli.quantities import quantities
from broker.cli.receivers import receiver
from broker.cli.reprocess import reprocess, reprocessings
from broker.cli.serve import config, serve
from broker.cli.subscriptions import subscription
from broker.cli.swaps import candidates, quarantine, swap, swaps, undo
from broker.cli.tenants import tenant
from broker.cli.ttn.command import import_ttn
from broker.cli.why import why


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="knutpunkt")
def main() -> None:
    """Knutpunkt: a city's sensor hub, an NGSI-LD context broker.

    \b
    knutpunkt demo                       a small city with sensors, to look at
    knutpunkt serve                      the broker
    knutpunkt device list                which devices there are, when they were last heard
    knutpunkt place show urn:ngsi-ld:Building:school
                                         all that is known of a place and what it contains
    knutpunkt quarantine                 devices that nobody has claimed
    knutpunkt alarm list                 what is wrong: silent devices, low batteries, values beyond limits
    knutpunkt subscription list          how notifications fare: backlog, lag, errors
    knutpunkt receiver list              who is told of it: by e-mail, in Teams, through a webhook
    knutpunkt swap ROOM-214-CLIMATE a81758fffe0312ab
                                         put a new device where another was
    knutpunkt undo ROOM-214-CLIMATE      take that back
    knutpunkt why urn:ngsi-ld:Room:214 temperature
                                         where a value comes from
    knutpunkt reprocess --model elsys-ers --from 2026-03-01
                                         decode again what came, after a codec was corrected
    knutpunkt send ARCHIVE-CLIMATE reboot
                                         tell a sensor something

    knutpunkt import devices FILE.csv    a spreadsheet of devices and what they are
    knutpunkt apply -f FILE.yaml         the registry as files say it; shows the difference first

    All but `serve`, `demo` and `listen` speak to a running broker: --url and --token, or KNUTPUNKT_URL and KNUTPUNKT_TOKEN.
    """


model.add_command(import_ttn)
for command in (
    serve,
    demo,
    listen,
    config,
    device,
    sensor,
    place,
    quarantine,
    candidates,
    swap,
    undo,
    swaps,
    why,
    reprocess,
    reprocessings,
    send,
    command_group,
    quantities,
    model_check,
    model,
    import_,
    export,
    apply,
    tenant,
    alarm,
    subscription,
    receiver,
):
    main.add_command(command)
device.add_command(key)

if __name__ == "__main__":
    sys.exit(main())
