"""Text of tags: clean values, the name by which equal values are known, and numbered genres."""

import re
import unicodedata

# ID3v1 in the order of their numbers, with the additions of Winamp up to 191.
ID3V1_GENRES = (
    "Blues|Classic Rock|Country|Dance|Disco|Funk|Grunge|Hip-Hop|Jazz|Metal|New Age|Oldies|Other|Pop|R&B|Rap|Reggae|"
    "Rock|Techno|Industrial|Alternative|Ska|Death Metal|Pranks|Soundtrack|Euro-Techno|Ambient|Trip-Hop|Vocal|"
    "Jazz+Funk|Fusion|Trance|Classical|Instrumental|Acid|House|Game|Sound Clip|Gospel|Noise|AlternRock|Bass|Soul|"
    "Punk|Space|Meditative|Instrumental Pop|Instrumental Rock|Ethnic|Gothic|Darkwave|Techno-Industrial|Electronic|"
    "Pop-Folk|Eurodance|Dream|Southern Rock|Comedy|Cult|Gangsta|Top 40|Christian Rap|Pop/Funk|Jungle|Native American|"
    "Cabaret|New Wave|Psychedelic|Rave|Showtunes|Trailer|Lo-Fi|Tribal|Acid Punk|Acid Jazz|Polka|Retro|Musical|"
    "Rock & Roll|Hard Rock|Folk|Folk-Rock|National Folk|Swing|Fast Fusion|Bebop|Latin|Revival|Celtic|Bluegrass|"
    "Avantgarde|Gothic Rock|Progressive Rock|Psychedelic Rock|Symphonic Rock|Slow Rock|Big Band|Chorus|"
    "Easy Listening|Acoustic|Humour|Speech|Chanson|Opera|Chamber Music|Sonata|Symphony|Booty Bass|Primus|Porn Groove|"
    "Satire|Slow Jam|Club|Tango|Samba|Folklore|Ballad|Power Ballad|Rhythmic Soul|Freestyle|Duet|Punk Rock|Drum Solo|"
    "A Cappella|Euro-House|Dance Hall|Goa|Drum & Bass|Club-House|Hardcore Techno|Terror|Indie|BritPop|Afro-Punk|"
    "Polsk Punk|Beat|Christian Gangsta Rap|Heavy Metal|Black Metal|Crossover|Contemporary Christian|Christian Rock|"
    "Merengue|Salsa|Thrash Metal|Anime|JPop|Synthpop|Abstract|Art Rock|Baroque|Bhangra|Big Beat|Breakbeat|Chillout|"
    "Downtempo|Dub|EBM|Eclectic|Electro|Electroclash|Emo|Experimental|Garage|Global|IDM|Illbient|Industro-Goth|"
    "Jam Band|Krautrock|Leftfield|Lounge|Math Rock|New Romantic|Nu-Breakz|Post-Punk|Post-Rock|Psytrance|Shoegaze|"
    "Space Rock|Trop Rock|World Music|Neoclassical|Audiobook|Audio Theatre|Neue Deutsche Welle|Podcast|Indie Rock|"
    "G-Funk|Dubstep|Garage Rock|Psybient"
)
GENRES = tuple(ID3V1_GENRES.split("|"))
SPECIAL = {"RX": "Remix", "CR": "Cover"}  # what a genre field may say of a song beside its genre
NUMBERED = re.compile(r"[\s/;,]*\((\d+|RX|CR)\)")
SEPARATORS = re.compile(r"[\s\-‐-―−_/\\|;,·•]+")  # hyphens and dashes in the middle
APOSTROPHES = dict.fromkeys(map(ord, "\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}ʼ`´"), "'")


def clean(text: str) -> str:
    """Return a value as a table can hold it: valid Unicode, composed (NFC), without marks of byte order and edges."""
    valid = text.encode("utf-8", "replace").decode().replace("\0", " ").replace("\N{ZERO WIDTH NO-BREAK SPACE}", "")
    return unicodedata.normalize("NFC", valid).strip()


def name_key(name: str) -> str:
    """Return what equal names share, however they are written: in lower case, with one space for any separators.

    Examples
    --------
    >>> name_key("AC/DC"), name_key("ac - dc"), name_key("Ada; Ben")
    ('ac dc', 'ac dc', 'ada ben')
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).translate(APOSTROPHES)
    return SEPARATORS.sub(" ", folded).strip() or folded.strip()


def genres_of(text: str) -> list[str]:
    """Return the genres that a field names, in words or by numbers of ID3v1; a number without a name is none.

    Examples
    --------
    >>> genres_of("(17)(9)"), genres_of("(RX)Metal"), genres_of("189"), genres_of("(255)"), genres_of("Pop/Folk")
    (['Rock', 'Metal'], ['Remix', 'Metal'], ['Dubstep'], [], ['Pop/Folk'])
    """
    codes, rest = [], text.strip()
    while numbered := NUMBERED.match(rest):
        codes.append(numbered[1])
        rest = rest[numbered.end() :].strip()
    rest = rest.removeprefix("(") if rest.startswith("((") else rest  # two stand for one that is meant
    if rest.isdecimal() or rest in SPECIAL:
        codes.append(rest)
        rest = ""
    named = [SPECIAL.get(code) or (GENRES[int(code)] if int(code) < len(GENRES) else "") for code in codes]
    return list(dict.fromkeys(filter(None, [*named, rest.strip(" /;,")])))
