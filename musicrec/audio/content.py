"""The bytes of a file, as what looks for frames reads them."""

from typing import BinaryIO, Protocol, overload

BLOCK_BYTES = 1 << 14


class Content(Protocol):
    """What memory that a file is mapped to has, and :class:`ReadContent`."""

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, key: int, /) -> int: ...
    @overload
    def __getitem__(self, key: slice, /) -> bytes: ...

    def find(self, sub: bytes, start: int = ..., end: int = ..., /) -> int:
        """Return where `sub` is between `start` and `end`; -1 if it is not there."""


class ReadContent:
    """The bytes of an open file, read block by block where they are asked for.

    A process that touches mapped memory is killed if the disk fails, or if the file has become shorter. Reading raises
    OSError, or gives fewer bytes.

    Parameters
    ----------
    file : binary file
        Open for reading; its position changes.

    Examples
    --------
    >>> from io import BytesIO
    >>> content = ReadContent(BytesIO(b"abcdef"))
    >>> len(content), content[1:3], content[4], content.find(b"e", 2, 6)
    (6, b'bc', 101, 4)
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._n_bytes = file, file.seek(0, 2)
        self._begin, self._block = 0, b""

    def __len__(self) -> int:
        return self._n_bytes

    @overload
    def __getitem__(self, key: int, /) -> int: ...
    @overload
    def __getitem__(self, key: slice, /) -> bytes: ...

    def __getitem__(self, key: int | slice, /) -> int | bytes:
        if isinstance(key, int):
            return self[key : key + 1][0]
        start, stop, _ = key.indices(self._n_bytes)
        if start < self._begin or stop > self._begin + len(self._block):
            self._file.seek(start)
            self._begin, self._block = start, self._file.read(max(stop - start, BLOCK_BYTES))
        return self._block[start - self._begin : max(stop, start) - self._begin]

    def find(self, sub: bytes, start: int = 0, end: int | None = None, /) -> int:
        """Return where `sub` is between `start` and `end`; -1 if it is not there."""
        end = self._n_bytes if end is None else min(end, self._n_bytes)
        while start + len(sub) <= end:
            block = self[start : min(start + BLOCK_BYTES, end)]
            if (at := block.find(sub)) >= 0:
                return start + at
            if len(block) < len(sub):
                break
            start += len(block) - len(sub) + 1
        return -1
