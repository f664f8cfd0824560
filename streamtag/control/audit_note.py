"""A note of the audit chain's head on this host: what Redis alone cannot tell, whether it has lost its newest entries.

A Redis restored from an older copy holds a shorter chain that is sound in itself. Whoever has seen a later entry knows.
"""

from pathlib import Path

import msgspec

from streamtag.atomic_files import replace_file
from streamtag.domain.audit_chain import Head
from streamtag.errors import RefusedError

__all__ = ["AuditNote"]


class AuditNote:
    """Of one namespace.

    Args:
        state_dir: of this host.
        namespace: of Redis.
    """

    def __init__(self, state_dir: Path, namespace: str) -> None:
        self.path = state_dir / "audit" / f"{namespace}.json"

    def read(self) -> Head | None:
        """The head that was noted last; None where none was.

        Raises:
            RefusedError: the note cannot be read.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Head)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise RefusedError(
                f"{self.path} cannot be read: {error}", hint="`--accept` replaces it by what Redis holds now."
            ) from None

    def write(self, head: Head) -> None:
        """Notes ``head``.

        Raises:
            RefusedError: the file cannot be written.
        """
        try:
            replace_file(self.path, msgspec.json.encode(head))
        except OSError as error:
            raise RefusedError(f"{self.path} cannot be written: {error.strerror}") from None
