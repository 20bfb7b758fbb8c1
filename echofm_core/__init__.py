"""The science of EchoFM Federated: data, models, training, evaluation. Knows nothing of Flower.

Decoders read their limits from the environment when they are loaded, and this is loaded first.
"""

import os

__version__ = "0.1.0"

# Damage is a finding with a sentence, not a line of a decoder on the terminal.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
# A header of a few bytes may ask for gigabytes: no frame of an echo has more than 64 megapixels.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**26))
# FFmpeg takes a text file for a list of other files to open, whatever its name: containers alone.
os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = (
    "format_whitelist;avi,mov,mpeg,mpegts,mpegvideo,h264,hevc"
)
