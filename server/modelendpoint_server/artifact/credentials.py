"""The mounted Secret, read at each try, so that a corrected Secret needs no restart."""

from pathlib import Path

from modelendpoint_server.errors import ModelForbidden

_MOST_BYTES = 1024 * 1024


def read_credentials(folder: Path) -> dict[str, str]:
    """Read one credential a file; none when the folder is missing."""
    if not folder.is_dir():
        return {}
    try:
        # The kubelet keeps the real files behind links whose names start with two dots.
        return {
            entry.name: entry.read_bytes()[:_MOST_BYTES].decode("utf-8").strip()
            for entry in sorted(folder.iterdir())
            if not entry.name.startswith("..") and entry.is_file()
        }
    except (OSError, UnicodeDecodeError) as error:
        raise ModelForbidden(
            f"The credentials in {folder} can't be read ({type(error).__name__}). Check model.credentialsSecretRef."
        ) from error
