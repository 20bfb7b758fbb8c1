"""The last reply of a run, kept on the site's disk until the next one.

Symptom: the coordinator dies after a round was trained and before it was written down; asked again,
the site trains again, and a private site pays again, until its budget ends the run. Reason: noise
of the operating system is another each time, so a second training is a second release. Protocol:
the reply is written, whole and durably, before it is sent, with the fingerprint of the question;
the same question gets the same bytes, for nothing. What can still go wrong: a site that is killed
between the end of its training and this file has paid, and pays again.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import Update
from echofm_core.runtime import array_files as files
from echofm_core.runtime.errors import EchoFMError
from echofm_core.wire import Content, decode, encode

#: Name of the file in the run's state folder.
FILE = "reply.safetensors"


def write_reply(update: Update, folder: Path, question: str) -> None:
    """Keep a reply in place of the one before.

    Args:
        question: Fingerprint of what was asked.
    """
    content = encode(update)
    arrays = {
        f"{record}|{name}": array
        for record, named in content.arrays.items()
        for name, array in named.items()
    }
    numbers = {"config": content.config, "metrics": content.metrics}
    files.save(arrays, folder / FILE, {"question": question, "numbers": json.dumps(numbers)})


def read_reply(folder: Path, question: str) -> Update | None:
    """The reply to this question; None where another was asked last, or the file is damaged."""
    path = folder / FILE
    try:
        about = files.load_metadata(path)
        if about.get("question") != question:
            return None
        arrays: dict[str, dict[str, NDArray[np.floating]]] = {}
        for key, array in files.load(path).items():
            record, _, name = key.partition("|")
            arrays.setdefault(record, {})[name] = array
        return decode(Content(**json.loads(about["numbers"]), arrays={**arrays}), Update)
    except (EchoFMError, KeyError, ValueError, TypeError):
        return None
