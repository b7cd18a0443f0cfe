"""How much of one file is read at most, and which sample rates and channel counts are read."""

from dataclasses import dataclass

from musicrec.errors import DecodeError
from musicrec.schemas import Reason


@dataclass(frozen=True)
class Limits:
    """Limits for one song. A song beyond them raises ``DecodeError``, whatever its header claims.

    Parameters
    ----------
    max_bytes : int
        Largest size of a file on this machine.
    max_download_bytes : int
        Largest size of a file that is fetched.
    max_download_s : float
        Longest time to fetch it, in seconds, for all attempts together.
    max_channels : int
        Largest number of channels.
    min_rate_hz, max_rate_hz : int
        Lowest and highest sample rate, in Hz.
    max_decoded_s : float
        Most audio to decode, in seconds, if a song is read from its start: whole, or because its clip can only be
        found in this way.

    Examples
    --------
    >>> from musicrec.audio import Limits
    >>> Limits(max_channels=2).check_format(44_100, 6)
    Traceback (most recent call last):
    musicrec.errors.DecodeError: unsupported: 6 channels; at most 2 are read
    """

    max_bytes: int = 4 << 30
    max_download_bytes: int = 512 << 20
    max_download_s: float = 900.0
    max_channels: int = 32
    min_rate_hz: int = 1_000
    max_rate_hz: int = 768_000
    max_decoded_s: float = 6 * 3600.0

    def check_format(self, rate: int, n_channels: int) -> None:
        """Check that a sample rate and a number of channels are within the limits.

        Parameters
        ----------
        rate : int
            Sample rate, in Hz.
        n_channels : int
            Number of channels.

        Raises
        ------
        DecodeError
            One of them is not; the reason is ``unsupported``.
        """
        if n_channels > self.max_channels:
            raise DecodeError(Reason.UNSUPPORTED, f"{n_channels} channels; at most {self.max_channels} are read")
        if not self.min_rate_hz <= rate <= self.max_rate_hz:
            expected = f"expected {self.min_rate_hz} to {self.max_rate_hz} Hz"
            raise DecodeError(Reason.UNSUPPORTED, f"sample rate {rate} Hz; {expected}")

    def check_decoded(self, n_samples: int, rate: int) -> None:
        """Check that a song that is read from its start has not been read for too long.

        Parameters
        ----------
        n_samples : int
            Samples decoded so far.
        rate : int
            Sample rate, in Hz.

        Raises
        ------
        DecodeError
            It has; the reason is ``too_large``.
        """
        if n_samples > round(self.max_decoded_s * rate):
            raise DecodeError(Reason.TOO_LARGE, f"no end after {self.max_decoded_s:g} s, and no more is decoded")


DEFAULT_LIMITS = Limits()
