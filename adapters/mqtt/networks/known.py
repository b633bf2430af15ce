"""Which networks are known, by the name that settings use. A network is one module here and its line in the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapters.members import NotUnderstood, shown
from adapters.mqtt.networks import (
    actility,
    chirpstack,
    chirpstack_v3,
    generic,
    iot_open,
    netmore,
    things_stack,
    yggio,
    zigbee2mqtt,
)
from adapters.mqtt.networks.base import NetworkServer
from broker.config import GenericNetwork, InvalidSetting
from broker.pipeline.intake import Downlink, NotSent

AUTO = "auto"
BUILT_IN: tuple[NetworkServer, ...] = (
    chirpstack.SERVER,
    chirpstack_v3.SERVER,
    things_stack.SERVER,
    netmore.SERVER,
    zigbee2mqtt.SERVER,
    yggio.SERVER,
    actility.SERVER,
    iot_open.SERVER,
)
"""In the order in which they are asked whether a message is theirs: those that know their topics first."""

Networks = Mapping[str, NetworkServer]


def networks(settings: Iterable[GenericNetwork] = ()) -> Networks:
    """All by their names: those of the settings first, because they are somebody's own words. Raises InvalidSetting."""
    known: dict[str, NetworkServer] = {}
    for each in [*(generic.server(one) for one in settings), *BUILT_IN]:
        if each.name in known or each.name == AUTO:
            raise InvalidSetting(f"networks: the name '{each.name}' is taken.")
        known[each.name] = each
    return known


@dataclass(frozen=True, slots=True)
class Choice:
    """The networks whose messages one MQTT broker brings."""

    servers: Sequence[NetworkServer]
    topics: tuple[str, ...]

    def of(self, topic: str, body: bytes) -> NetworkServer:
        """The network whose message this is. Raises NotUnderstood."""
        if len(self.servers) == 1:
            return self.servers[0]
        for server in self.servers:
            if server.knows(topic, body):
                return server
        names = ", ".join(server.name for server in self.servers)
        raise NotUnderstood(f"By topic and shape it is no message of {names}: topic {shown(topic)}.")

    def write(self, downlink: Downlink) -> tuple[str, bytes]:
        """Topic and body of a downlink, as the network takes it that the device was last heard by. Raises NotSent."""
        name = downlink.source.partition(":")[2]
        if name:
            server = next((each for each in self.servers if each.name == name), None)
        else:
            server = next((each for each in self.servers if each.knows(downlink.topic, b"")), self.servers[0])
        if server is None:
            names = ", ".join(each.name for each in self.servers)
            raise NotSent(f"The device was last heard by '{name[:60]}'; the settings of its MQTT broker have {names}.")
        if server.down is None:
            raise NotSent(f"Network '{name}' takes no downlinks over MQTT here.")
        return server.down(downlink)


def choice(setting: str, topics: Sequence[str], known: Networks) -> Choice:
    """The networks that `mqtt.network` names, 'auto' for all, and the topic filters to subscribe to. Raises InvalidSetting."""
    names = [name.strip() for name in setting.split(",")]
    missing = next((name for name in names if name not in known and name != AUTO), None)
    if missing is not None:
        raise InvalidSetting(f"mqtt.network: must be one of {', '.join([AUTO, *sorted(known)])}, got '{missing[:60]}'.")
    servers = list(known.values()) if AUTO in names else [known[name] for name in names]
    # What stands below '+/obj' is anybody's: it is only subscribed to where the settings name it.
    named = [each for each in servers if each is not iot_open.SERVER or AUTO not in names]
    filters = tuple(topics) or tuple(dict.fromkeys(each for server in named for each in server.topics))
    if not filters:
        raise InvalidSetting(f"mqtt.topics: network '{setting[:60]}' has no usual topics; say which to subscribe to.")
    return Choice(servers, filters)
