"""How long a recording is, without decoding it: what a file is cut into windows by."""

from __future__ import annotations

from mien.corpora import edf
from mien.errors import MediaError
from mien.features.media.container import container_of
from mien.features.media.source import opened
from mien.features.media.truncation import STATES_LENGTH


def length_s(path: str) -> float | None:
    """Seconds from the start of the file to the end of its longest stream; None for a table, which has none.

    As a header states it where it does. Where it only estimates (mp3, transport streams), the packets are counted,
    which reads the file once and decodes nothing. Raises MediaError as `decode` does.
    """
    if path.lower().partition("#")[0].endswith((".csv", ".tsv", ".txt")):
        return None
    with opened(path) as file:
        head = file.read(12)
        file.seek(0)
        if head[:8] in edf.MAGICS:
            header = edf.read_header(path, file)
            n_present = (file.seek(0, 2) - header.header_bytes) // header.record_bytes
            return min(n_present, n_present if header.n_records is None else header.n_records) * header.record_s
        if head[:4] in (b"RIFF", b"fLaC"):
            import soundfile

            try:
                with soundfile.SoundFile(file) as sound:
                    if sound.frames and sound.samplerate:
                        return sound.frames / sound.samplerate
            except soundfile.LibsndfileError:  # a rare codec, or one that is cut: ffmpeg judges
                pass
            file.seek(0)
        with container_of(path, file) as container:
            if container.format.name.split(",")[0] in STATES_LENGTH and container.duration:
                return container.duration / 1e6
            origin_s, end_s = (container.start_time or 0) / 1e6, 0.0
            for packet in container.demux():
                if packet.pts is not None:
                    end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base) - origin_s)
    if not end_s:
        raise MediaError("truncated", f"{path}: holds no packet with a time; copy it again")
    return end_s
