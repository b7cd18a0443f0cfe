"""Run an ONNX file by onnxruntime: the windows of a clip go in, one vector and perhaps tags come out."""

import socket
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError
from musicrec.features.front_ends import windows
from musicrec.models.pretrained.card import Card

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Array = NDArray[np.float32]

ON_CPU, ON_GPU = "CPUExecutionProvider", "CUDAExecutionProvider"  # names of onnxruntime
ON_CUDA = [(ON_GPU, {"use_tf32": "0"})]  # whole float32, as on a CPU


class Output(NamedTuple):
    """What a network says of a clip."""

    vector: Array  # float32 [d]
    tags: Array | None  # float32 [n_tags]; None if it has none


class Pretrained:
    """A network that somebody else has trained, ready to run on one thread.

    Parameters
    ----------
    content : bytes
        The ONNX file.
    card : Card
        What it reads and gives.
    gpu : bool
        Run it on a GPU.

    Raises
    ------
    ModelError
        onnxruntime cannot load the file, has no support of GPUs where one is to be used, or the file does not read and
        give what the card says.
    """

    def __init__(self, content: bytes, card: Card, *, gpu: bool = False) -> None:
        self.card = card
        self._session = _session(content, card.name, gpu=gpu)
        self._input, self._shape = _input(self._session, card)
        self._outputs = [card.output, *([card.tags_output] if card.tags_output else [])]
        _check_outputs(self._session, card, self._outputs)

    @property
    def takes_batches(self) -> bool:
        """Whether it reads several windows at once."""
        return self._shape[0] != 1

    def run(self, batch: Array) -> list[Array]:
        """Return the outputs for some windows: the vectors [n_windows, d], and the tags [n_windows, n_tags].

        Raises
        ------
        ModelError
            It fails, or does not give one vector for each window.
        """
        parts = [batch] if self.takes_batches else [batch[i : i + 1] for i in range(len(batch))]
        return [np.concatenate(outputs) for outputs in zip(*(self._run(part) for part in parts), strict=True)]

    def _run(self, batch: Array) -> list[Array]:
        shaped = np.ascontiguousarray(batch).reshape(len(batch), *self._shape[1:])
        try:
            outputs: list[Array] = self._session.run(self._outputs, {self._input: shaped})
        except Exception as e:  # onnxruntime has a dozen classes for it, without one above them
            raise ModelError(f"model {self.card.name} stopped: {_line(e)}") from e
        for name, output in zip(self._outputs, outputs, strict=True):
            if output.ndim != 2 or len(output) != len(batch):
                found = f"{list(output.shape)} for {len(batch)} windows"
                raise ModelError(f"model {self.card.name}: output {name} is {found}; expected [{len(batch)}, d]")
        return outputs

    def embed(self, y: Array) -> Output | None:
        """Return the vector of a clip, and its tags: the mean of each over the windows.

        Parameters
        ----------
        y : numpy.ndarray
            float32 [n_samples] at the card's sample rate, mono, finite, at least one sample.

        Returns
        -------
        Output or None
            As for :meth:`embed_blocks`.
        """
        return self.embed_blocks([y])

    def embed_blocks(self, blocks: Iterable[Array]) -> Output | None:
        """Return vector and tags of a clip that comes in blocks, in memory that does not grow with its length.

        Parameters
        ----------
        blocks : iterable of numpy.ndarray
            float32 [n_samples], each of any length: put together, the clip of :meth:`embed`.

        Returns
        -------
        Output or None
            None if the clip is shorter than a window and the card refuses such clips.

        Raises
        ------
        ModelError
            The network fails, or its vectors have different lengths.
        """
        card = self.card
        lengths = {"window_s": card.window_s, "hop_s": card.hop_s}
        batches = windows(blocks, card.reads, card.sample_rate, **lengths, short=card.short)
        return self._pooled(self.run(batch) for batch in batches)

    def _pooled(self, batches: Iterator[list[Array]]) -> Output | None:
        vectors, tags = Pool(), Pool()
        for outputs in batches:
            for pool, output in zip((vectors, tags), outputs, strict=False):
                pool.add(output, self.card.name)
        if not vectors.n:
            return None
        return Output(vectors.result(self.card.pooling), tags.result("mean") if tags.n else None)


class Pool:
    """Makes one vector of many, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self.n = 0
        self._sum: NDArray[np.float64] | None = None

    def add(self, rows: Array, model: str) -> None:
        """Take some rows, float32 [n, d].

        Raises
        ------
        ModelError
            They have another length than those before.
        """
        values = rows.astype(np.float64)
        if self._sum is None:
            self._sum, self._squares = np.zeros((2, rows.shape[1]))
            self._origin, self._max = values[0], values[0]
        if rows.shape[1] != len(self._sum):
            lengths = f"{len(self._sum)} and {rows.shape[1]}"
            raise ModelError(f"model {model} gives vectors of {lengths} numbers for one clip")
        distances = values - self._origin  # from the first row, so that nothing cancels
        self._sum, self._squares = self._sum + distances.sum(axis=0), self._squares + (distances**2).sum(axis=0)
        self._max = np.maximum(self._max, values.max(axis=0))
        self.n += len(rows)

    def result(self, pooling: str) -> Array:
        """Return the vector, float32 [d], or [2 d] for mean and standard deviation."""
        assert self._sum is not None
        shift = self._sum / self.n
        mean = self._origin + shift
        if pooling == "max":
            return self._max.astype(np.float32)
        if pooling == "mean":
            return mean.astype(np.float32)
        deviation = np.sqrt(np.maximum(self._squares / self.n - shift**2, 0.0))
        return np.concatenate([mean, deviation]).astype(np.float32)


def _session(content: bytes, name: str, *, gpu: bool) -> "InferenceSession":
    """Load a file on one thread, as a worker has one core, or on the GPU of the worker."""
    import onnxruntime

    if gpu and ON_GPU not in onnxruntime.get_available_providers():
        raise ModelError(_without_gpu(name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it has to say comes with its error
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[*(ON_CUDA if gpu else []), ON_CPU])
    except Exception as e:  # onnxruntime has a dozen classes for it, without one above them
        raise ModelError(_explained(name, e)) from e
    if gpu and ON_GPU not in session.get_providers():  # CUDA's libraries are missing: onnxruntime only warns
        raise ModelError(_without_gpu(name))
    return session


def _without_gpu(name: str) -> str:
    import onnxruntime

    engine = f"onnxruntime {onnxruntime.__version__} on {socket.gethostname()}"
    return f"model {name} cannot run on a GPU: {engine} has no CUDA; install onnxruntime-gpu there, or leave --gpu out"


def _explained(name: str, error: Exception) -> str:
    import onnxruntime

    said, engine = _line(error), f"onnxruntime {onnxruntime.__version__}"
    if "No Op registered for" in said or "is not a registered function/op" in said:
        return f"model {name} needs an operator that {engine} lacks ({said}); export it anew"
    return f"model {name} cannot be loaded by {engine}: {said}"


def _line(error: Exception) -> str:
    """Return the end of an error's message, on one line."""
    return " ".join(str(error).split()).rpartition(" : ")[2][-300:]


def _input(session: "InferenceSession", card: Card) -> tuple[str, list[Any]]:
    """Return name and shape of the input; raise ModelError unless it takes the windows of the card."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{i.name}: {i.type}" for i in inputs)
        raise ModelError(f"model {card.name} has the inputs {found}; expected one of float32")
    name, shape, window = inputs[0].name, list(inputs[0].shape), list(card.window_shape)
    problem = ""
    if not all(isinstance(n, int) for n in shape[1:]):
        problem = f"only the first number may be open, so export it for windows of {window}"
    elif [n for n in shape[1:] if n != 1] != [n for n in window if n != 1]:
        of_card = f"{card.window_s:g} s of front end {card.front_end} at {card.sample_rate} Hz"
        problem = f"by the card a window is {window} ({of_card}); correct the card or the file"
    elif isinstance(shape[0], int) and shape[0] != 1:
        problem = "expected 1 window or any number of them"
    if problem:
        raise ModelError(f"model {card.name}: input {name} is {_text(shape)}; {problem}")
    return name, shape


def _text(shape: list[Any]) -> str:
    return f"[{', '.join('?' if n is None else str(n) for n in shape)}]"


def _check_outputs(session: "InferenceSession", card: Card, wanted: list[str]) -> None:
    outputs = {output.name: output for output in session.get_outputs()}
    for name in wanted:
        if name not in outputs:
            has = ", ".join(outputs)
            raise ModelError(f"model {card.name} has no output {name}, which the card names; it has {has}")
        if outputs[name].type != "tensor(float)":
            raise ModelError(f"model {card.name}: output {name} is {outputs[name].type}; expected float32")
