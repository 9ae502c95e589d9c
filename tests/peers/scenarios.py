"""Which real sender does what: the catalogue that captures, golden vectors and their tests share."""

from __future__ import annotations

from typing import Final, NamedTuple

PIP: Final = (
    "sacn==1.11.0",
    "stupidArtnet==1.6.0",
    "pyartnet==2.0",
    "npartnet==0.2.0",
    "aioartnet==0.2.1",
    "python-led-ddp==1.0.1",
    "numpy==2.4.6",
    "typing_extensions==4.16.0",
)
LEDFX: Final = (
    "ledfx==2.2.1",
    "--no-deps",  # and only what its network devices import: all of it takes minutes, and a compiler
    "numpy==2.4.6",
    "sacn==1.11.0",
    "stupidArtnet==1.6.0",
    "voluptuous==0.16.0",
    "requests==2.34.2",
    "certifi==2026.10.19.post1",
    "charset-normalizer==3.5.3",
    "idna==3.20",
    "urllib3==2.8.0",
    "netifaces2==0.0.22",
    "packaging==26.4",
    "pillow==13.0.0",
    "pyserial==3.5",
    "python-dotenv==1.2.4",
)
LEDFX_WHOLE: Final = ("ledfx==2.2.1",)
"""With all that it needs, and Debian's libportaudio2."""
HOME_ASSISTANT: Final = ("wled==1.1.1",)
NPM: Final = ("sacn@4.6.2", "artnet@1.4.0", "dmxnet@0.9.0", "e131@1.1.3")

DDP, WLED, ARTNET, E131, RTP = 4048, 21324, 6454, 5568, 5004
SWAPPED: Final = 13_849
"""Art-Net's port with its bytes exchanged."""
SACN_GROUPS: Final = ("239.255.0.1", "239.255.249.255")
"""Universe 1, and 63,999, which PyPI's sacn synchronises with."""


class Scenario(NamedTuple):
    """One sender doing one thing. script and words: below `scripts`, run by the sender's own interpreter.

    node: as an Art-Net node the other host answers polls: plain, swapped or renamed.
    """

    name: str
    sender: str
    format: str
    script: str
    words: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    node: str | None = None
    groups: tuple[str, ...] = ()


SCENARIOS: Final = (
    Scenario("sacn-changes", "sacn 1.11.0 (PyPI)", "e131", "sacn_sends.py", ("changes",), (E131,)),
    Scenario("sacn-still", "sacn 1.11.0 (PyPI)", "e131", "sacn_sends.py", ("still",), (E131,)),
    Scenario("sacn-stopped", "sacn 1.11.0 (PyPI)", "e131", "sacn_sends.py", ("stopped",), (E131,)),
    Scenario("sacn-priorities", "sacn 1.11.0 (PyPI)", "e131", "sacn_sends.py", ("priorities",), (E131,)),
    Scenario("sacn-preview", "sacn 1.11.0 (PyPI)", "e131", "sacn_sends.py", ("preview",), (E131,), None, SACN_GROUPS),
    Scenario("stupidartnet-numbers", "stupidArtnet 1.6.0", "artnet", "stupidartnet_sends.py", ("numbers",), (ARTNET,)),
    Scenario("stupidartnet-lengths", "stupidArtnet 1.6.0", "artnet", "stupidartnet_sends.py", ("lengths",), (ARTNET,)),
    Scenario("pyartnet-artnet", "pyartnet 2.0", "artnet", "pyartnet_sends.py", ("artnet",), (ARTNET,)),
    Scenario("pyartnet-sacn", "pyartnet 2.0", "e131", "pyartnet_sends.py", ("sacn",), (E131,)),
    Scenario("pyartnet-still", "pyartnet 2.0", "artnet", "pyartnet_sends.py", ("still",), (ARTNET,)),
    Scenario("npartnet-changes", "npartnet 0.2.0", "artnet", "npartnet_sends.py", ("changes",), (ARTNET,)),
    Scenario("aioartnet-numbers", "aioartnet 0.2.1", "artnet", "aioartnet_sends.py", ("numbers",), (ARTNET,), "plain"),
    Scenario(
        "aioartnet-swapped", "aioartnet 0.2.1", "artnet", "aioartnet_sends.py", ("few",), (ARTNET, SWAPPED), "swapped"
    ),
    Scenario(
        "aioartnet-renamed", "aioartnet 0.2.1", "artnet", "aioartnet_sends.py", ("renamed",), (ARTNET,), "renamed"
    ),
    Scenario("python-led-ddp", "python-led-ddp 1.0.1", "ddp", "ddp_sends.py", ("changes",), (DDP,)),
    Scenario("ledfx-ddp", "LedFx 2.2.1", "ddp", "ledfx_sends.py", ("ddp",), (DDP,)),
    Scenario("ledfx-artnet", "LedFx 2.2.1", "artnet", "ledfx_sends.py", ("artnet",), (ARTNET,)),
    Scenario("ledfx-e131", "LedFx 2.2.1", "e131", "ledfx_sends.py", ("e131",), (E131,)),
    Scenario("ledfx-drgb", "LedFx 2.2.1", "wled", "ledfx_sends.py", ("drgb",), (WLED,)),
    Scenario("ledfx-drgbw", "LedFx 2.2.1", "wled", "ledfx_sends.py", ("drgbw",), (WLED,)),
    Scenario("ledfx-warls", "LedFx 2.2.1", "wled", "ledfx_sends.py", ("warls",), (WLED,)),
    Scenario("ledfx-warls-still", "LedFx 2.2.1", "wled", "ledfx_sends.py", ("warls-still",), (WLED,)),
    Scenario("ledfx-dnrgb-still", "LedFx 2.2.1", "wled", "ledfx_sends.py", ("dnrgb-still",), (WLED,)),
    Scenario("npm-sacn-changes", "sacn 4.6.2 (npm)", "e131", "sacn_npm_sends.js", ("changes",), (E131,)),
    Scenario("npm-sacn-still", "sacn 4.6.2 (npm)", "e131", "sacn_npm_sends.js", ("still",), (E131,)),
    Scenario("npm-artnet", "artnet 1.4.0 (npm)", "artnet", "artnet_npm_sends.js", ("changes",), (ARTNET,)),
    Scenario("dmxnet-numbers", "dmxnet 0.9.0", "artnet", "dmxnet_sends.js", ("numbers",), (ARTNET,)),
    Scenario("dmxnet-still", "dmxnet 0.9.0", "artnet", "dmxnet_sends.js", ("still",), (ARTNET,)),
    Scenario("npm-e131", "e131 1.1.3 (npm)", "e131", "e131_npm_sends.js", ("changes",), (E131,)),
    Scenario("ola-artnet", "OLA 0.10.9 (Debian)", "artnet", "ola_sends.sh", ("artnet",), (ARTNET,)),
    Scenario("ola-artnet-numbers", "OLA 0.10.9 (Debian)", "artnet", "ola_sends.sh", ("artnet", "262"), (ARTNET,)),
    Scenario("ola-sacn", "OLA 0.10.9 (Debian)", "e131", "ola_sends.sh", ("sacn",), (E131,), None, SACN_GROUPS),
    Scenario("ffmpeg-pcmu", "FFmpeg 5.1 (Debian)", "rtp", "ffmpeg_sends.sh", ("pcmu",), (RTP,)),
    Scenario("ffmpeg-mjpeg", "FFmpeg 5.1 (Debian)", "rtp", "ffmpeg_sends.sh", ("mjpeg",), (RTP,)),
)
