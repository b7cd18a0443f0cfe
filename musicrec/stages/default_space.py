"""The space in which a new OUT compares songs: the best one whose models are on this machine.

An OUT that has a table of similar songs keeps its space, whatever is on the machine.
"""

from musicrec.models.pretrained.library import installed
from musicrec.monitor import log
from musicrec.settings import OWN_SPACES, TAGS, SimilarSettings, weights_of
from musicrec.store.store import Store

SPACE = ("features=0.25", "musicnn=1", "tags/musicnn=1")  # benchmarks/models/default_space.py shows why
CPU_S = 0.05  # that the model takes for a song


def default_space(store: Store) -> tuple[str, ...]:
    """Return the space that ``run`` takes where none is chosen; empty for the embeddings of a trained model."""
    if store.settings.recorded(SimilarSettings.stage) or store.exists("similar"):
        return ()
    models = {name.removeprefix(TAGS) for name in weights_of(SPACE)} - set(OWN_SPACES)
    return SPACE if models <= {card.name for card in installed()} else ()


def tell_default(store: Store, settings: SimilarSettings) -> None:
    """Say in which space a new OUT is about to be compared, and what that costs, if it is the default one."""
    if not settings.space or settings.space != default_space(store):
        return
    log.log_event(
        "space",
        f"songs are compared by {' + '.join(weights_of(SPACE))}: about {CPU_S:g} s of CPU time a song; "
        f"to compare them by the trained model instead: --space {OWN_SPACES[0]}",
        space=list(SPACE),
        cpu_s_a_song=CPU_S,
    )
