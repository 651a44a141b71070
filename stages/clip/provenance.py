"""A note in the container of a video which says that the video is synthetic, in the terms of IPTC's digital source type.

The note is an XMP packet where the container has a place for one (XMP specification, part 3): in MP4 a `uuid` box at the end of the file,
in QuickTime `moov/udta/XMP_`. Plain tags that players and ffprobe show say the same in MP4 and Matroska. The note is not signed: anyone can
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
"""Terms of http://cv.iptc.org/newscodes/digitalsourcetype/. The first is for media that a trained model made; its examples name a video
"using a combination of a real actor and an AI model". The second is for such media together with others: a photograph around it, or a
video beside it."""
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
    """What a video says of its origin."""

    source_type: SourceType

    @property
    def uri(self) -> str:
        return VOCABULARY + self.source_type

    @property
    def description(self) -> str:
        """A sentence for people."""
        return f"Synthetic video, made with a neural network (fsv2v). IPTC digital source type: {self.uri}"

    @property
    def xmp(self) -> str:
        """The XMP packet."""
        return _PACKET.format(uri=escape(self.uri), description=escape(self.description))

    def tags(self, container: str) -> dict[str, str]:
        """The metadata that ffmpeg is to write into a container: mp4, mov or matroska."""
        if container == "mov":
            return {"xmp": self.xmp}
        named = {"DIGITAL_SOURCE_TYPE": self.uri} if container == "matroska" else {}
        return {"description": self.description, **named}

    def complete(self, file: Path, container: str) -> None:
        """Add to a finished file what ffmpeg does not write."""
        if container == "mp4":
            content = XMP_BOX + self.xmp.encode()
            with file.open("ab") as stream:
                stream.write(struct.pack(">I4s", 8 + len(content), b"uuid") + content)


def note_of_clip(clip: Clip) -> Note | None:
    """The note on the frames of a clip, by what made them."""
    producer = clip.layer("frames").meta["producer"] if clip.has("frames") else {}
    parameters = producer.get("parameters")
    return note_of(str(producer.get("stage")), parameters if isinstance(parameters, dict) else {})


def note_of(stage: str, parameters: Mapping[str, Any]) -> Note | None:
    """The note on frames that a stage made with these parameters; None for those that are not synthetic or are to have none."""
    if stage != "synthesize" or not parameters.get("note", True):
        return None
    placement = parameters.get("placement")
    pasted = isinstance(placement, Mapping) and placement.get("pasted")
    return Note("compositeWithTrainedAlgorithmicMedia" if pasted or parameters.get("compare") else "trainedAlgorithmicMedia")
