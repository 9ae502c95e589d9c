"""The formats that a receiver or a sender can have, by name."""

from __future__ import annotations

from typing import Final, Literal

from udprism.wire.artnet import Artnet
from udprism.wire.ddp import Ddp
from udprism.wire.e131 import E131
from udprism.wire.format import Format, Sending
from udprism.wire.opaque import Opaque
from udprism.wire.rtp import Rtp
from udprism.wire.text import Text
from udprism.wire.wled import Wled

FormatName = Literal["opaque", "ddp", "wled", "artnet", "e131", "rtp", "text"]
_ALL: Final[tuple[Format, ...]] = (Ddp(), Wled(), Artnet(), E131(), Rtp(), Text(), Opaque())
FORMATS: Final[dict[str, Format]] = {form.name: form for form in _ALL}
SENT: Final = frozenset(form.name for form in _ALL if form.encoder(Sending(1, bytes(16))) is not None)
"""Of those a sender can have."""
