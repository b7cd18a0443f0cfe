"""Quantities computed by essentia, TensorFlow's tf.signal and audioflux, beside the same quantities by musicrec.

There is one line for each peer and quantity: CPU time of one core from samples (or, for decoding, from a file) to the
quantity, medians over clips, the two interleaved in alternating order; float32, frames of 2048 samples every 512. A
ratio above 1 means that musicrec is faster. `r` is the median correlation of their values with ours over the clips:
near 1 means the same quantity. For a tempo it is the share of clips on which both agree within 4 %, or are octaves
apart.

The peers are not dependencies: they are installed into the folder of --peers, or a temporary one, and are searched
after everything that musicrec needs itself.
"""

import importlib
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import librosa
import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.common import audio_files, cpu, evenly, one_thread, parser, print_machine, print_table
from musicrec import audio, features

RATE, N_FFT, HOP = 22050, 2048, 512
CLIP_S, OFFSET_S = 30.0, 30.0
N_MELS, N_MFCC = 128, 20
HPSS_WINDOW = 31
TO_INSTALL = ("essentia", "audioflux")
TEMPO_TOLERANCE = 0.04
SAME_TEMPO = (1 / 3, 1 / 2, 1, 2, 3)

Array = NDArray[Any]
Tensor = Any  # TensorFlow and the peers come without types
Flux = Any
Function = Callable[[Any], Any]  # samples, or the path of a file, to the quantity, [rows, n_frames] or [n]


class Row(NamedTuple):
    """One comparison."""

    quantity: str
    theirs: Function
    remark: str = ""
    reference: Function | None = None  # what r compares their values with, if not with ours


# --- ours ---------------------------------------------------------------------------------------------------------


def of_analysis(*names: str) -> Function:
    """Make a function from samples to quantities of their analysis; the mel-spectrogram is called ``mel``."""

    def compute(y: Array) -> Array:
        analysis = features.analyse(y, RATE)
        found = [analysis.mel(N_MELS) if name == "mel" else getattr(analysis, name) for name in names]
        return found[0] if len(found) == 1 else np.concatenate([np.atleast_2d(values) for values in found])

    return compute


def decode(path: Path) -> Array:
    """Decode the clip of a track, as the extract stage does."""
    return audio.load(str(path), sample_rate=RATE, offset_s=OFFSET_S, duration_s=CLIP_S)


SHAPE = ("spectral_centroid", "spectral_rolloff", "zero_crossing_rate", "spectral_flatness")
OURS: dict[str, Function] = {
    "mel-spectrogram, dB": of_analysis("mel"),
    "mfcc": of_analysis("mfcc"),
    "mel-spectrogram and mfcc": of_analysis("mel", "mfcc"),
    "spectral centroid": of_analysis("spectral_centroid"),
    "spectral rolloff": of_analysis("spectral_rolloff"),
    "zero crossing rate": of_analysis("zero_crossing_rate"),
    "spectral flatness": of_analysis("spectral_flatness"),
    "these four at once": of_analysis(*SHAPE),
    "spectral contrast": of_analysis("spectral_contrast"),
    "harmonic and percussive": of_analysis("harmonic", "percussive"),
    "tempo": of_analysis("tempo"),
    "decoding": decode,
}


# --- tf.signal ----------------------------------------------------------------------------------------------------


def with_tensorflow() -> list[Row]:
    """Return compiled functions over tf.signal, with librosa's mel filters."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    filters = tf.constant(librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=N_MELS).T)
    signature = [tf.TensorSpec([None], tf.float32)]
    frequencies = tf.linspace(0.0, RATE / 2, N_FFT // 2 + 1)

    def magnitude(y: Tensor) -> Tensor:
        return tf.abs(tf.signal.stft(tf.pad(y, [[N_FFT // 2, N_FFT // 2]]), N_FFT, HOP))

    def decibels(y: Tensor) -> Tensor:
        power = tf.maximum(tf.square(magnitude(y)) @ filters, 1e-10)
        db = 10 / np.log(10) * tf.math.log(power)
        return tf.maximum(db, tf.reduce_max(db) - 80)

    def coefficients(db: Tensor) -> Tensor:
        return tf.signal.dct(db, norm="ortho")[:, :N_MFCC]

    def mel(y: Tensor) -> Tensor:
        db = decibels(y)
        return db - tf.reduce_max(db)

    def both(y: Tensor) -> Tensor:
        db = decibels(y)
        return tf.concat([db - tf.reduce_max(db), coefficients(db)], axis=1)

    def centroid(y: Tensor) -> Tensor:
        s = magnitude(y)
        return tf.reduce_sum(s * frequencies, axis=1) / tf.maximum(tf.reduce_sum(s, axis=1), 1e-30)

    def flatness(y: Tensor) -> Tensor:
        power = tf.maximum(tf.square(magnitude(y)), 1e-10)
        return tf.exp(tf.reduce_mean(tf.math.log(power), axis=1)) / tf.reduce_mean(power, axis=1)

    def compiled(function: Function) -> Function:
        graph = tf.function(function, input_signature=signature)
        return lambda y: graph(y).numpy().T

    return [
        Row("mel-spectrogram, dB", compiled(mel)),
        Row("mfcc", compiled(lambda y: coefficients(decibels(y)))),
        Row("mel-spectrogram and mfcc", compiled(both)),
        Row("spectral centroid", compiled(centroid)),
        Row("spectral flatness", compiled(flatness)),
    ]


# --- essentia -----------------------------------------------------------------------------------------------------


def with_essentia() -> list[Row]:
    """Return essentia's standard algorithms, frame by frame; its streaming mode, sample by sample, is far slower."""
    import essentia

    essentia.log.infoActive = essentia.log.warningActive = False
    import essentia.standard as es

    whole: dict[str, Any] = {"inputSize": N_FFT // 2 + 1, "sampleRate": RATE, "lowFrequencyBound": 0}
    whole |= {"highFrequencyBound": RATE / 2, "type": "power", "numberBands": N_MELS}
    slaney = {"warpingFormula": "slaneyMel", "weighting": "linear", "normalize": "unit_tri"}
    window = es.Windowing(type="hann", normalized=False, symmetric=False, zeroPhase=False, size=N_FFT)
    spectrum = es.Spectrum(size=N_FFT)
    mel_bands = es.MelBands(**whole, **slaney)
    cepstrum = es.MFCC(logType="dbpow", numberCoefficients=N_MFCC, **whole, **slaney)
    centroid, rolloff = es.Centroid(range=RATE / 2), es.RollOff(cutoff=0.85, sampleRate=RATE)
    crossings, flatness = es.ZeroCrossingRate(), es.Flatness()
    contrast = es.SpectralContrast(
        frameSize=N_FFT, sampleRate=RATE, numberBands=7, lowFrequencyBound=100, highFrequencyBound=RATE / 2
    )

    def frames(y: Array) -> Array:
        return es.FrameGenerator(y, frameSize=N_FFT, hopSize=HOP, startFromZero=False)

    def of_spectrum(function: Function) -> Function:
        return lambda y: np.array([function(spectrum(window(frame))) for frame in frames(y)]).T

    def mel_and_mfcc(y: Array) -> Array:
        found = [cepstrum(spectrum(window(frame))) for frame in frames(y)]
        bands, coefficients = (np.array(values).T for values in zip(*found, strict=True))
        return np.concatenate([librosa.power_to_db(bands, ref=np.max), coefficients])

    def four(y: Array) -> Array:
        found = []
        for frame in frames(y):
            s = spectrum(window(frame))
            found.append((centroid(s), rolloff(s), crossings(frame), flatness(s * s)))
        return np.array(found).T

    def easy(path: Path) -> Array:
        seconds = librosa.get_duration(path=path)
        start = 0.0 if seconds <= CLIP_S + 1 else min(OFFSET_S, seconds - CLIP_S)
        stop = start + CLIP_S if start else seconds + 1
        return es.EasyLoader(filename=str(path), sampleRate=RATE, startTime=start, endTime=stop)()

    def percival(y: Array) -> Array:
        return es.PercivalBpmEstimator(sampleRate=RATE)(y)

    def rhythm(method: str, y: Array) -> Array:  # made for 44.1 kHz alone
        return es.RhythmExtractor2013(method=method)(es.Resample(inputSampleRate=RATE, outputSampleRate=44100)(y))[0]

    return [
        Row("mel-spectrogram, dB", lambda y: librosa.power_to_db(of_spectrum(mel_bands)(y), ref=np.max)),
        Row("mfcc", of_spectrum(lambda s: cepstrum(s)[1]), "without a floor of 80 dB"),
        Row("mel-spectrogram and mfcc", mel_and_mfcc),
        Row("spectral centroid", of_spectrum(centroid)),
        Row("spectral rolloff", of_spectrum(rolloff), "of energy, ours of magnitude"),
        Row("zero crossing rate", lambda y: np.array([crossings(frame) for frame in frames(y)])),
        Row("spectral flatness", of_spectrum(lambda s: flatness(s * s))),
        Row("these four at once", four),
        Row("spectral contrast", of_spectrum(lambda s: contrast(s)[0]), "another algorithm (shape-based)"),
        Row("tempo", percival, "another algorithm: PercivalBpmEstimator"),
        Row("tempo", partial(rhythm, "degara"), "another algorithm: RhythmExtractor2013 degara, at 44.1 kHz"),
        Row("tempo", partial(rhythm, "multifeature"), "another algorithm: RhythmExtractor2013, at 44.1 kHz"),
        Row("decoding", easy, "EasyLoader: decodes and resamples from the start"),
    ]


# --- audioflux ----------------------------------------------------------------------------------------------------


def with_audioflux() -> list[Row]:
    """Return audioflux' functions over its C library; its frames are not centred, so samples are padded as ours are."""
    import audioflux as af
    from audioflux.type import (
        SpectralDataType,
        SpectralFilterBankNormalType,
        SpectralFilterBankScaleType,
        SpectralFilterBankStyleType,
        WindowType,
    )

    common: dict[str, Any] = {"radix2_exp": 11, "samplate": RATE, "low_fre": 0.0, "high_fre": RATE / 2}
    common |= {"window_type": WindowType.HANN, "slide_length": HOP}
    common |= {"style_type": SpectralFilterBankStyleType.SLANEY}
    mel_bank = af.BFT(
        num=N_MELS,
        scale_type=SpectralFilterBankScaleType.MEL,
        normal_type=SpectralFilterBankNormalType.BAND_WIDTH,
        data_type=SpectralDataType.POWER,
        **common,
    )
    linear: dict[str, Any] = {"num": N_FFT // 2 + 1, "scale_type": SpectralFilterBankScaleType.LINEAR}
    magnitudes = af.BFT(data_type=SpectralDataType.MAG, **linear, **common)
    powers = af.BFT(data_type=SpectralDataType.POWER, **linear, **common)
    cepstrum = af.XXCC(num=N_MELS)
    shape = af.Spectral(num=magnitudes.num, fre_band_arr=magnitudes.get_fre_band_arr())
    temporal = af.Temporal(frame_length=N_FFT, slide_length=HOP, window_type=WindowType.RECT)
    separation = af.HPSS(11, WindowType.HANN, HOP, HPSS_WINDOW, HPSS_WINDOW)

    def padded(y: Array) -> Array:
        return np.pad(y, N_FFT // 2)

    def mel_power(y: Array) -> Array:
        return mel_bank.bft(padded(y), result_type=1)

    def mfcc(power: Array) -> Array:
        cepstrum.set_time_length(power.shape[1])
        return cepstrum.xxcc(power, cc_num=N_MFCC)

    def both(y: Array) -> Array:
        power = mel_power(y)
        return np.concatenate([librosa.power_to_db(power, ref=np.max), mfcc(power)])

    def shape_of(bank: Flux, method: Function, y: Array) -> Array:
        s = bank.bft(padded(y), result_type=1)
        shape.set_time_length(s.shape[1])
        return method(s)

    def zero_crossings(y: Array) -> Array:
        return temporal.temporal(padded(y), has_zcr=True)["zcr_arr"]

    def four(y: Array) -> Array:
        s = magnitudes.bft(padded(y), result_type=1)
        shape.set_time_length(s.shape[1])
        found = [shape.centroid(s), shape.rolloff(s, threshold=0.85), zero_crossings(y), shape.flatness(s**2)]
        n = min(map(len, found))
        return np.stack([values[:n] for values in found])

    def htk(y: Array) -> Array:
        return librosa.feature.melspectrogram(y=y, sr=RATE, htk=True)

    def htk_db(y: Array) -> Array:
        return librosa.power_to_db(htk(y), ref=np.max)

    def htk_mfcc(y: Array) -> Array:
        return librosa.feature.mfcc(S=librosa.power_to_db(htk(y), top_db=None), n_mfcc=N_MFCC)

    scale = "HTK's mel scale; r with librosa's htk=True"
    return [
        Row("mel-spectrogram, dB", lambda y: librosa.power_to_db(mel_power(y), ref=np.max), scale, htk_db),
        Row("mfcc", lambda y: mfcc(mel_power(y)), f"{scale}; without a floor of 80 dB", htk_mfcc),
        Row("mel-spectrogram and mfcc", both, scale, lambda y: np.concatenate([htk_db(y), htk_mfcc(y)])),
        Row("spectral centroid", partial(shape_of, magnitudes, shape.centroid)),
        Row("spectral rolloff", partial(shape_of, magnitudes, partial(shape.rolloff, threshold=0.85))),
        Row("zero crossing rate", zero_crossings),
        Row("spectral flatness", partial(shape_of, powers, shape.flatness)),
        Row("these four at once", four),
        Row("harmonic and percussive", lambda y: np.stack(separation.hpss(y)), "masks of its own"),
    ]


PEERS: dict[str, Callable[[], list[Row]]] = {
    "tensorflow": with_tensorflow,
    "essentia": with_essentia,
    "audioflux": with_audioflux,
}


# --- comparing ----------------------------------------------------------------------------------------------------


def likeness(mine: Array, theirs: Array) -> float:
    """Return the correlation of two quantities over the frames of both; NaN where their rows differ in number."""
    mine, theirs = np.atleast_2d(mine), np.atleast_2d(theirs)
    if mine.shape[0] != theirs.shape[0]:
        return float("nan")
    n = min(mine.shape[1], theirs.shape[1])
    by_row = [np.corrcoef(a[:n], b[:n])[0, 1] for a, b in zip(mine, theirs, strict=True)]
    return float(np.median(by_row))


def same_tempo(mine: Array, theirs: Array) -> float:
    """Return 1 if two tempi agree or are octaves apart, else 0."""
    ratio = float(np.ravel(theirs)[0]) / float(np.ravel(mine)[0])
    return float(any(abs(ratio / factor - 1) < TEMPO_TOLERANCE for factor in SAME_TEMPO))


def compare(row: Row, inputs: list[Any], repeats: int) -> list[object]:
    """Return the cells of one line: quantity, both times, ratio, likeness, remark."""
    ours = OURS[row.quantity]
    times: dict[Function, list[float]] = {ours: [], row.theirs: []}
    like = []
    for turn in range(-1, repeats):  # the first turn warms up
        for x in inputs[: 2 if turn < 0 else None]:
            ran = {call: cpu(lambda c=call, x=x: c(x)) for call in list(times)[:: -1 if turn % 2 else 1]}
            if turn < 0:
                continue
            for call, (_, seconds) in ran.items():
                times[call].append(seconds)
            if turn == 0:
                compared = same_tempo if row.quantity == "tempo" else likeness
                like.append(compared(row.reference(x) if row.reference else ran[ours][0], ran[row.theirs][0]))
    fast, slow = median(times[ours]), median(times[row.theirs])
    alike = np.mean(like) if row.quantity == "tempo" else np.median(like)
    return [row.quantity, f"{slow * 1e3:.2f}", f"{fast * 1e3:.2f}", f"{slow / fast:.2f}", f"{alike:.3f}", row.remark]


def lines_of(peer: str, inputs: dict[str, list[Any]], repeats: int) -> list[list[object]]:
    """Return all lines of a peer; if it cannot be imported, one line that says why."""
    try:
        rows = PEERS[peer]()
    except ImportError as e:
        return [[peer, "cannot be imported", "", "", "", "", str(e).splitlines()[0]]]
    lines = []
    for row in rows:
        groups = {name: inputs[name] for name in inputs if (name == "clips") != (row.quantity == "decoding")}
        for name, group in groups.items():
            try:
                cells = compare(row, group, repeats)
            except Exception as e:  # one quantity that a version of a peer lacks must not cost the others
                cells = [row.quantity, "", "", "", "", f"{type(e).__name__}: {e}".splitlines()[0]]
            cells[0] = row.quantity if name == "clips" else f"{row.quantity} of {name}"
            lines.append([peer, *cells])
    return lines


@contextmanager
def peers_in(folder: Path | None, wanted: list[str]) -> Iterator[None]:
    """Make the peers importable from the folder; install those that are not there yet."""
    with tempfile.TemporaryDirectory() as temporary:
        target = folder or Path(temporary)
        for name in wanted:
            if name in TO_INSTALL and not (target / name).is_dir():
                install(name, target)
        sys.path.append(str(target))  # last: numpy and the like stay those of musicrec
        importlib.invalidate_caches()
        yield


def install(name: str, target: Path) -> None:
    """Install one peer, without dependencies, into a folder; print a line if there is no wheel for this Python."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--target",
        target,
        name,
    ]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        print(f"{name} could not be installed: no wheel for Python {python}, or no index ({reason})", file=sys.stderr)


def main() -> None:
    """Print one table, with a line for each peer and quantity."""
    p = parser(__doc__, "python -m benchmarks.extract.peers --peers ../peers --only essentia --clips 5")
    p.add_argument(
        "--peers", type=Path, help="folder the peers are installed into and kept in (default: a temporary one)"
    )
    p.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS), help="these peers alone")
    p.add_argument("--clips", type=int, default=14, help="originals of gtzan to run on (default 14)")
    p.add_argument("--repeats", type=int, default=3, help="times each clip runs (default 3)")
    options = p.parse_args()
    one_thread()
    warnings.filterwarnings("ignore")
    originals = evenly(audio_files(options.data / "gtzan", (".wav", ".flac")), options.clips)
    songs = evenly(audio_files(options.data / "songs", (".mp3",)), options.clips)
    inputs = {"clips": [decode(path) for path in originals], "wav and flac": originals, "mp3 songs": songs}
    with peers_in(options.peers, options.only):
        print_machine("librosa", "numba", "numpy", *(name for name in options.only if installed(name)))
        lines = [line for peer in options.only for line in lines_of(peer, inputs, options.repeats)]
    head = ["peer", "quantity", "peer ms", "musicrec ms", "ratio", "r", "remark"]
    print_table(head, lines)
    print("tf.signal has no separation, tempo or decoder of mp3; essentia separates no samples into harmonic and")
    print("percussive ones; audioflux has neither spectral contrast nor tempo, and decodes by soundfile.")


def installed(name: str) -> bool:
    """Return whether a package is installed."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
