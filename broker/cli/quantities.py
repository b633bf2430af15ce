"""`knutpunkt quantities`: what a device model may send and a virtual sensor may have."""

from __future__ import annotations

import click

from broker.cli.tables import table
from broker.codecs.quantities import accepted_units, quantity, quantity_names


@click.command()
def quantities() -> None:
    """List every quantity, the unit (UN/CEFACT) it is kept in, and the units it may be given in."""
    table(
        ("QUANTITY", "UNIT", "ALSO", "MEANING"),
        [
            (name, quantity(name).unit, " ".join(accepted_units(name)[1:]), quantity(name).description)
            for name in sorted(quantity_names())
        ],
        "There are none.",
    )
