"""The versions of the libraries that decode."""


def decoder_version(name: str) -> str | None:
    """Return the version of libsndfile or FFmpeg that this process decodes with; None for any other name."""
    if name == "libsndfile":
        import soundfile

        return str(soundfile.__libsndfile_version__)
    if name == "FFmpeg":
        import av

        return str(av.ffmpeg_version_info)
    return None
