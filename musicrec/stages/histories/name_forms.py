"""Names as they are compared: what two spellings of one artist, song or place share."""

import re
import unicodedata
from urllib.parse import unquote, urlsplit

LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "&": " and "}
)
APOSTROPHES = re.compile(r"['’‘ʼ`´]")
LATIN = 0x0250  # accents of later letters tell words apart, such as Japanese voicing marks

GUEST = r"(?:feat\.?|ft\.?|featuring)"
GUESTS = re.compile(rf"\s*[(\[]\s*(?:{GUEST}|with)\s[^)\]]*[)\]]|\s+{GUEST}\s.+$", re.IGNORECASE)
SAME = r"(?:\d{4}|\d+(?:st|nd|rd|th)|digital(?:ly)?|re-?master(?:ed)?|anniversary|edition|version|album|original)"
SAMES = rf"(?:{SAME}\W+)*{SAME}"  # words that say of a recording only how it was issued
ISSUED = re.compile(rf"\s*[(\[]\s*({SAMES})\s*[)\]]|\s+[-–]\s+({SAMES})\s*$", re.IGNORECASE)
TELLS = re.compile(r"master|album version", re.IGNORECASE)  # without such a word, "(1999)" is part of a title
BETWEEN = re.compile(r"\s*[,;/&]\s*|\s+(?:and|x|vs\.?|with)\s+", re.IGNORECASE)
DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def plain(text: str) -> str:
    """Return a name in lower case, without accents and punctuation; a name of punctuation alone stays.

    Examples
    --------
    >>> plain("Sigur Rós"), plain("Don’t Stop (’til…)"), plain("!!!"), plain("Tom & Jerry")
    ('sigur ros', 'dont stop til', '!!!', 'tom and jerry')
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters: list[str] = []
    for letter in unicodedata.normalize("NFD", folded):
        is_accent = unicodedata.combining(letter) and letters and ord(letters[-1]) < LATIN
        letters += [] if is_accent else [letter]
    composed = APOSTROPHES.sub("", unicodedata.normalize("NFC", "".join(letters).translate(LETTERS)))
    words = ""
    for letter in composed:  # a mark belongs to the letter before it, and without one it is punctuation
        is_mark = unicodedata.combining(letter) and words[-1:].strip()
        words += letter if letter.isalnum() or is_mark else " "
    return " ".join(words.split()) or folded.strip()


def title_form(title: str) -> str:
    """Return a title as it is compared: :func:`plain`, without guests and without how the recording was issued.

    Another recording, such as a live one or a remix, keeps its words.

    Examples
    --------
    >>> title_form("Song 2 - 2012 Remaster"), title_form("Hey (feat. Ben) [Remastered 2011]"), title_form("Hey (Live)")
    ('song 2', 'hey', 'hey live')
    """
    without = ISSUED.sub(lambda found: "" if TELLS.search(found[0]) else found[0], GUESTS.sub("", title))
    return plain(without) if without.strip() else plain(title)


def artist_forms(artist: str) -> list[str]:
    """Return the forms under which an artist is looked for: all names together, without guests, then name by name.

    Examples
    --------
    >>> artist_forms("The Beatles"), artist_forms("Ada & Ben feat. Cid")
    (['beatles'], ['ada and ben feat cid', 'ada and ben', 'ada', 'ben'])
    """
    alone = GUESTS.sub("", artist).strip() or artist
    names = [artist, alone, *BETWEEN.split(alone)]
    return list(dict.fromkeys(_without_article(plain(name)) for name in names if name.strip()))


def _without_article(name: str) -> str:
    return name.removeprefix("the ") or name


def path_form(uri: str) -> str:
    r"""Return a path or a ``file:`` URI as it is compared with others: decoded, with slashes.

    Examples
    --------
    >>> path_form("file:///Music/Rock%20and%20Roll.mp3"), path_form(r"C:\Music\a.mp3")
    ('/Music/Rock and Roll.mp3', 'C:/Music/a.mp3')
    """
    place = unicodedata.normalize("NFC", uri)
    if uri.lower().startswith("file:"):
        place = unicodedata.normalize("NFC", unquote(urlsplit(uri).path))
        place = place[1:] if DRIVE.match(place[1:]) else place
    return place.replace("\\", "/") if DRIVE.match(place) else place
