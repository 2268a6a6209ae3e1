"""The check of a model's references to other files. It does not lean on ONNX Runtime's own, which lets some through."""

import os
import stat
from pathlib import Path

from modelendpoint_server.artifact.bounds import safe_path
from modelendpoint_server.errors import ModelInvalid, ModelUnsafe
from modelendpoint_server.onnx_file import ExternalTensor, OnnxFacts


def check_external_data(facts: OnnxFacts, *, folder: Path, model_path: str, listed: frozenset[str]) -> None:
    """Raise unless each reference leads to a listed, regular file with one link, inside the folder, long enough."""
    parent, _, _ = model_path.rpartition("/")
    for tensor in facts.external:
        path = safe_path(tensor.location)
        path = f"{parent}/{path}" if parent else path
        if path not in listed:
            raise ModelInvalid(
                f"The model has weights in {path}, which is not there. Upload it beside the model, and set the URI of"
                " the folder."
            )
        _check_file(folder / path, tensor)


def _check_file(path: Path, tensor: ExternalTensor) -> None:
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise ModelUnsafe(f"The model's weights {tensor.location} are no file of their own. Upload the file itself.")
    offset, length = _number(tensor.offset, tensor), _number(tensor.length or "0", tensor)
    if offset + length > status.st_size:
        raise ModelInvalid(
            f"The model's weights {tensor.location} have {status.st_size} bytes, but {offset + length} are needed."
            " Upload the file anew."
        )


def _number(text: str, tensor: ExternalTensor) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        raise ModelInvalid(f"The model's reference to {tensor.location} has {text[:20]!r} where a number belongs.")
    return int(text)
