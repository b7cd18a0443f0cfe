"""Check the loops that numba compiles for this machine's processor: lists of similar songs, and features.

On a fresh machine this compiles them, so that the first run need not.
"""

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import MusicrecError

SONGS, WIDTH, N = 300, 64, 10
MOST_OFF = 1e-5  # error of a score
SCREENS = {"amx": "AMX", "vnni": "AVX-512 VNNI", "product": "plain products"}
RATE_HZ = 22_050
MOST_OFF_RATIO = 1e-3  # relative error of a feature; the features agree to 1e-6
LIBROSAS = {  # features of `noise` by librosa 0.11 and 1.0, whose own loops would take half a minute to compile
    "chroma_stft_mean": 0.818732,
    "rms_mean": 0.282063,
    "spectral_centroid_mean": 5547.03,
    "spectral_bandwidth_mean": 3186.37,
    "rolloff_mean": 9387.01,
    "zero_crossing_rate_mean": 0.489691,
    "harmony_var": 0.0215060,
    "perceptr_var": 0.0211646,
    "tempo": 123.047,
    "mfcc1_mean": 78.3772,
    "mfcc20_var": 13.3151,
    "spectral_contrast_mean": 12.3759,
    "spectral_flatness_mean": 0.563933,
    "flux_mean": 0.851897,
    "mel_spec1": 7.59610,
}


def lists() -> str:
    """Make lists with each screen that the processor supports, and compare them with those of brute force."""
    from musicrec.cluster.tasks import compiling
    from musicrec.similarity import top_n
    from musicrec.similarity.search.screens import available

    vectors = np.random.default_rng(0).standard_normal((SONGS, WIDTH), np.float32)
    ids, scores = brute_force(vectors, N)
    for screen in available():
        with compiling():
            found = top_n(vectors, N, screen=screen)
        n_wrong = ((found.ids != ids) | (np.abs(found.scores - scores) > MOST_OFF)).any(axis=1).sum()
        if n_wrong:
            raise MusicrecError(f"{n_wrong} of {SONGS} lists by {SCREENS[screen]} differ from brute force")
    names = [SCREENS[screen] for screen in available()]
    also = f" ({' and '.join(names[1:])} would also work)" if names[1:] else ""
    return f"similar songs are found by {names[0]}{also}; {SONGS} lists equal brute force"


def brute_force(vectors: NDArray[np.float32], n: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the `n` most similar rows of each row by cosine, and their scores; both [N, n]."""
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    scores = (unit @ unit.T).astype(np.float32)
    np.fill_diagonal(scores, -np.inf)
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    return ids, np.take_along_axis(scores, ids, axis=1)


def features() -> str:
    """Compute features of a second of noise, and compare them with those of librosa."""
    import numba

    from musicrec import features
    from musicrec.cluster.tasks import compiling

    with compiling():
        found = features.extract(noise(), RATE_HZ, ["gtzan57", "iiitd41"])
    for name, value in LIBROSAS.items():
        if not np.isclose(found[name], value, rtol=MOST_OFF_RATIO):
            raise MusicrecError(f"{name} of a second of noise is {found[name]:g}; librosa's is {value:g}")
    return f"{len(LIBROSAS)} features of a second of noise equal librosa's (numba {numba.__version__})"


def noise() -> NDArray[np.float32]:
    """Return a second of noise within ±0.5, [RATE_HZ]."""
    return (np.random.default_rng(0).random(RATE_HZ) - 0.5).astype(np.float32)
