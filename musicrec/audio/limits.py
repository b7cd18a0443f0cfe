"""Limits on how much of one file is read, and on which audio is accepted."""

from dataclasses import dataclass

from musicrec.errors import DecodeError
from musicrec.schemas import Reason


@dataclass(frozen=True)
class Limits:
    """Bounds on one song; beyond them, a ``DecodeError`` is raised, whatever a header claims.

    Parameters
    ----------
    max_bytes : int
        Size of a file on this machine.
    max_download_bytes : int
        Size of an object that is fetched.
    max_download_s : float
        Time to fetch it, in seconds, all attempts together.
    max_channels : int
        Channels that are mixed down.
    min_rate_hz, max_rate_hz : int
        Sample rates that are read.
    max_decoded_s : float
        Most music that is decoded, in seconds, where a clip is only found by reading from the start.
    """

    max_bytes: int = 4 << 30
    max_download_bytes: int = 512 << 20
    max_download_s: float = 900.0
    max_channels: int = 32
    min_rate_hz: int = 1_000
    max_rate_hz: int = 768_000
    max_decoded_s: float = 6 * 3600.0

    def check_format(self, rate: int, n_channels: int) -> None:
        """Refuse rates and channels out of range.

        Raises
        ------
        DecodeError
            With reason ``unsupported``.
        """
        if n_channels > self.max_channels:
            raise DecodeError(Reason.UNSUPPORTED, f"{n_channels} channels; at most {self.max_channels} are read")
        if not self.min_rate_hz <= rate <= self.max_rate_hz:
            expected = f"expected {self.min_rate_hz} to {self.max_rate_hz} Hz"
            raise DecodeError(Reason.UNSUPPORTED, f"sample rate {rate} Hz; {expected}")


DEFAULT_LIMITS = Limits()
