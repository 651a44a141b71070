"""A note in the container of a video that the video is synthetic, in the terms of IPTC's digital source type.

In MP4 and QuickTime the note is an XMP packet (XMP specification, part 3): in MP4 a `uuid` box at the end of the file, in QuickTime
`moov/udta/XMP_`. In MP4 and Matroska plain tags, which players and ffprobe show, contain the same. The note is not signed: anyone can
remove it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

from stages.clip.clip import Clip

SourceType = Literal["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"]
"""Terms of http://cv.iptc.org/newscodes/digitalsourcetype/. The first is for media made by a trained model; one of its examples is a video
"using a combination of a real actor and an AI model". The second is for such media combined with others: within a photograph, or beside
another video."""
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""The type of the `uuid` box that holds XMP."""
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    "<Iptc4xmpExt:DigitalSourceType>{uri}</Iptc4xmpExt:DigitalSourceType><xmp:CreatorTool>fsv2v</xmp:CreatorTool>"
    '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{description}</rdf:li></rdf:Alt></dc:description>'
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)


@dataclass(frozen=True)
class Note:
    """The note on the origin of a video."""

    source_type: SourceType

    @property
    def uri(self) -> str:
        return VOCABULARY + self.source_type

    @property
    def description(self) -> str:
        """The note as text for people."""
        return f"Synthetic video, made with a neural network (fsv2v). IPTC digital source type: {self.uri}"

    @property
    def xmp(self) -> str:
        """The note as an XMP packet."""
        return _PACKET.format(uri=escape(self.uri), description=escape(self.description))

    def tags(self, container: str) -> dict[str, str]:
        """The tags that ffmpeg writes into a container: mp4, mov or matroska."""
        if container == "mov":
            return {"xmp": self.xmp}
        named = {"DIGITAL_SOURCE_TYPE": self.uri} if container == "matroska" else {}
        return {"description": self.description, **named}

    def complete(self, file: Path, container: str) -> None:
        """Add to a finished file the part of the note that ffmpeg cannot write."""
        if container == "mp4":
            content = XMP_BOX + self.xmp.encode()
            with file.open("ab") as stream:
                stream.write(struct.pack(">I4s", 8 + len(content), b"uuid") + content)


def note_of_clip(clip: Clip) -> Note | None:
    """The note for the frames of a clip, from the producer of its layer `frames`; None if they are not synthetic."""
    producer = clip.layer("frames").meta["producer"] if clip.has("frames") else {}
    parameters = producer.get("parameters")
    return note_of(str(producer.get("stage")), parameters if isinstance(parameters, dict) else {})


def note_of(stage: str, parameters: Mapping[str, Any]) -> Note | None:
    """The note for frames that a stage has made with these parameters; None if they are not synthetic, or no note is wanted."""
    if stage != "synthesize" or not parameters.get("note", True):
        return None
    placement = parameters.get("placement")
    is_pasted = isinstance(placement, Mapping) and placement.get("pasted")
    return Note("compositeWithTrainedAlgorithmicMedia" if is_pasted or parameters.get("compare") else "trainedAlgorithmicMedia")
