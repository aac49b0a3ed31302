"""How long is waited, how often is tried again, and how much is believed, when files are fetched from strangers."""

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from sim_models.config import Settings

CONNECT_S = 15.0
"""a server that is there answers within a second or two, also over satellite"""
SILENCE_S = 60.0
"""archives on tape-backed servers may be silent for half a minute before the first byte"""
LEAST_BYTES_PER_S = 1000.0
"""a gigabyte would take twelve days; whoever sends less, over SILENCE_S, keeps the line for nothing"""
ATTEMPTS = 5
"""of one mirror, in a row, without anything gained"""
PAUSE_S = 2.0
"""before the second attempt, doubled before each next: half a minute in all, which outlasts a restarted server"""
LONGEST_PAUSE_S = 60.0
"""of what a server may ask for by Retry-After"""
REDIRECTS = 8
"""figshare and Zenodo need two"""
JOBS = 3
"""files at a time; public servers throttle or ban those who open many lines"""
BLOCK_BYTES = 8 * 2**20
"""read at once where parts of an archive are fetched: about one request for each member of BioSR"""
MOST_MEMBERS = 1_000_000
"""of an archive; the largest set known, W2S, has 144,000 images"""
RATIO = 100.0
"""of unpacked to packed bytes, of a whole archive; camera images with noise come to 2, empty ones to 20"""
SMALL_BYTES = 64 * 2**20
"""up to which no ratio is asked about: a few empty images are no bomb"""
SPARE_BYTES = 256 * 2**20
"""of disk that stay free, for everybody else"""
LOCK_S = 6 * 3600.0
"""to wait for another fetch into the same folder: a large set over a slow line"""


class Limits(Settings):
    """All of them; the defaults decide over no result, only over whether there is one."""

    connect_s: PositiveFloat = CONNECT_S
    silence_s: PositiveFloat = SILENCE_S
    least_bytes_per_s: NonNegativeFloat = LEAST_BYTES_PER_S
    attempts: PositiveInt = ATTEMPTS
    pause_s: NonNegativeFloat = PAUSE_S
    longest_pause_s: NonNegativeFloat = LONGEST_PAUSE_S
    redirects: PositiveInt = REDIRECTS
    jobs: PositiveInt = Field(default=JOBS, le=16)
    block_bytes: PositiveInt = BLOCK_BYTES
    most_members: PositiveInt = MOST_MEMBERS
    ratio: PositiveFloat = RATIO
    small_bytes: PositiveInt = SMALL_BYTES
    spare_bytes: PositiveInt = SPARE_BYTES
    lock_s: PositiveFloat = LOCK_S
