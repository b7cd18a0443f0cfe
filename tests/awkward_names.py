"""Names of song files that players of playlists have stumbled over."""

AWKWARD = [
    "#1 hit.mp3", "100% pure.mp3", "a&b <live>.flac", "what?.ogg", "semi;colon, comma.mp3", " leading space.mp3",
    "Ä é ς 夜.opus", "'quotes' \"double\".mp3", "back\\slash.mp3", "a:b.mp3", "tab\there.mp3", "#EXTINF:1,x.mp3",
    "http:name.mp3", "\ttab first.mp3",
]  # fmt: skip
