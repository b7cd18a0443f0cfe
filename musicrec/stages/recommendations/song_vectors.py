"""The vectors of the published lists, and what rules and genres look at beside them."""

from musicrec.errors import ConfigError
from musicrec.serve.comparable_songs import Vectors, read_vectors
from musicrec.serve.song_facts import facts_of
from musicrec.settings import RecommendSettings, SimilarSettings
from musicrec.similarity import Songs, is_asked
from musicrec.stages.recommendations.genre_probabilities import genre_probabilities
from musicrec.stages.recommendations.methods import NEED_VECTORS, SongVectors
from musicrec.stages.recommendations.song_numbers import SongNumbers
from musicrec.store.store import Store


class NoVectorsError(ConfigError):
    """The method needs vectors or genre probabilities, and they are not published."""


def read_song_vectors(
    store: Store, of_lists: SimilarSettings, songs: SongNumbers, settings: RecommendSettings
) -> tuple[SongVectors | None, Songs | None]:
    """Return the vectors of the published lists, and what their rules look at, if these are published now.

    Longer lists cannot be made of them if the lists are approximate, or if a method against hubs made them, which
    depends on their length.

    Raises
    ------
    NoVectorsError
        The method needs vectors, and those of the lists are not published.
    ConfigError
        The method needs genre probabilities, and there are none.
    """
    lineage = store.footer("similar")["lineage"]
    vectors = _published(store, of_lists, lineage.get("made_of", {}), songs)
    if vectors is None:
        if settings.method in NEED_VECTORS:
            raise NoVectorsError(
                f"the method {settings.method} compares vectors, and those of the published lists were changed or "
                f"removed; run: musicrec similar {store.out}"
            )
        return None, None
    makes_lists = of_lists.hubness == "none" and lineage.get("compared", {}).get("exact") is not False
    probabilities = genre_probabilities(store, songs.listed) if settings.method == "genre" else None
    facts = facts_of(store, vectors, of_lists) if is_asked(of_lists) else None
    return SongVectors(vectors.matrix, makes_lists, probabilities), facts


def _published(store: Store, of_lists: SimilarSettings, made_of: dict[str, str], songs: SongNumbers) -> Vectors | None:
    try:
        vectors = read_vectors(store, of_lists.space)
    except ConfigError:  # the space was removed
        return None
    same = all(made_of.get(table) == name for table, name in vectors.origin.lineage["made_of"].items())
    return vectors if same and vectors.names["track_id"].to_pylist() == songs.listed.to_pylist() else None
