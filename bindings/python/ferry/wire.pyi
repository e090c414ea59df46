import os
from types import TracebackType
from typing import Any, Optional, Type, Union

from . import Buffer, Ticket

__all__ = ["Peer", "PeerInfo", "Wire"]

class PeerInfo:
    def __init__(self, struct: Any) -> None: ...
    address: str
    interface: str
    transports: str
    reason: str
    there: bool
    fallback: bool
    version: int
    bytes_sent: int
    bytes_received: int

class Wire:
    def __init__(
        self,
        *,
        listen: Optional[str] = None,
        secret_file: Union[str, "os.PathLike[str]", None] = None,
        transports: Optional[str] = None,
        interface: Optional[str] = None,
        no_fallback: bool = False,
        max_peers: int = 0,
        staging_budget: int = 0,
        heartbeat: float = 0,
        stall: float = 0,
        match: float = 0,
        data_ports: Optional[str] = None,
    ) -> None: ...
    def __enter__(self) -> "Wire": ...
    def __exit__(
        self,
        *exception: Union[Type[BaseException], BaseException, TracebackType, None],
    ) -> None: ...
    def close(self) -> None: ...
    @property
    def address(self) -> str: ...
    def connect(self, address: str, timeout: Optional[float] = None) -> Peer: ...
    def accept(self, timeout: Optional[float] = None) -> Peer: ...
    def metrics(self) -> str: ...

class Peer:
    wire: Wire
    def __init__(self, wire: Wire, handle: Any) -> None: ...
    def close(self) -> None: ...
    @property
    def info(self) -> PeerInfo: ...
    def send(
        self, buffer: Buffer, size: Optional[int] = None, offset: int = 0, tag: int = 0
    ) -> None: ...
    def receive(
        self, buffer: Buffer, size: Optional[int] = None, offset: int = 0, tag: int = 0
    ) -> None: ...
    def send_async(
        self, buffer: Buffer, size: Optional[int] = None, offset: int = 0, tag: int = 0
    ) -> Ticket: ...
    def receive_async(
        self, buffer: Buffer, size: Optional[int] = None, offset: int = 0, tag: int = 0
    ) -> Ticket: ...
    def cancel(self, ticket: Ticket) -> None: ...
