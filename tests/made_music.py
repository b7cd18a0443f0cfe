"""Sound that is made for tests of decoders: no two moments of it are alike."""

import numpy as np


def music(seconds: float, rate: int = 44_100, n_channels: int = 2, seed: int = 0):
    """Chords that change every half second in noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate))[:, None] / rate
    notes = rng.choice([220, 277.2, 329.6, 440, 554.4, 659.3], (2 * int(seconds) + 2, n_channels))
    tone = np.sin(2 * np.pi * notes[(2 * t[:, 0]).astype(int)] * t)
    return (0.2 * tone + 0.02 * rng.normal(size=tone.shape)).astype(np.float32)
