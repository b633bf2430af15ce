"""All transports, by the scheme of a URI."""

from __future__ import annotations

from types import TracebackType

from broker.config import Delivery, Smtp
from broker.outbound.client import Forbidden, Outbound
from broker.outbound.mail import MailTransport
from broker.outbound.message import Message, Transport, shown_uri
from broker.outbound.mqtt.transport import MqttTransport


class Transports:
    """http, https: POST. mqtt, mqtts: publish. mailto: by e-mail. Make it inside a running event loop."""

    def __init__(self, settings: Delivery, smtp: Smtp | None = None, http: Outbound | None = None) -> None:
        """`http`: a client that others use as well, and close; without it, one of its own."""
        self._own = Outbound(settings) if http is None else None
        self.mqtt = MqttTransport(settings)
        http = http or self._own
        assert http is not None
        mail = MailTransport(smtp or Smtp())
        self._by_scheme: dict[str, Transport] = {
            "http": http,
            "https": http,
            "mqtt": self.mqtt,
            "mqtts": self.mqtt,
            "mailto": mail,
        }

    async def __aenter__(self) -> Transports:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, message: Message) -> str:
        """See Transport."""
        transport = self._by_scheme.get(message.uri.partition(":")[0].lower())
        if transport is None:
            raise Forbidden(f"'{shown_uri(message.uri)}' cannot be sent to: its scheme is not known.")
        return await transport.send(message)

    async def close(self) -> None:
        """Close all connections."""
        await self.mqtt.close()
        if self._own is not None:
            await self._own.close()
