"""An event loop on which no TLS handshake takes for ever."""

import asyncio
from typing import Any

HANDSHAKE_SECONDS = 10.0
"""As long as a request's head may take; asyncio's own patience is a minute."""

FAREWELL_SECONDS = 3.0
"""How long the peer may take to say goodbye; asyncio's own patience is half a minute."""


class HastyLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, but for what a server waits for where uvicorn cannot be told."""

    async def create_server(self, *arguments: Any, **named: Any) -> Any:
        """Begin to listen; with bounded handshakes where the connections are encrypted."""
        if named.get("ssl") is not None:
            named.setdefault("ssl_handshake_timeout", HANDSHAKE_SECONDS)
            named.setdefault("ssl_shutdown_timeout", FAREWELL_SECONDS)
        return await super().create_server(*arguments, **named)
