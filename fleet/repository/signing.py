"""Signing keys as files: one pair per name, the private half readable by its owner alone.

Two persons are two private files. To sign takes one private file and all public ones, so the two private
files never have to be on one machine.
"""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from edge.contracts.errors import OperatorError
from fleet.disk import create_synced

PRIVATE_MODE = 0o600
FOLDER_MODE = 0o700
_NO_KEY = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    UnsupportedAlgorithm,
)
"""Errors that reading a key raises at a file that holds something else."""


class KeyRing:
    """A folder of Ed25519 keys: ``<name>.pem`` (private) and ``<name>.pub`` (public)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, *names: str) -> None:
        """Make the keys that are not there yet; an existing one is never replaced."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        for name in names:
            if self._path(name, "pub").exists():
                continue
            if not self._path(name, "pem").exists():
                fresh = CryptoSigner.generate_ed25519().private_bytes
                create_synced(self._path(name, "pem"), fresh, PRIVATE_MODE)
            public = CryptoSigner(self._private(name)).public_key
            stored = {"keyid": public.keyid, "key": public.to_dict()}
            create_synced(self._path(name, "pub"), json.dumps(stored).encode(), PRIVATE_MODE)

    def public(self, name: str) -> SSlibKey:
        """Read a public key.

        Raises:
            OperatorError: There is no key of that name, or its file holds none.
        """
        path = self._path(name, "pub")
        try:
            stored = json.loads(path.read_bytes())
            return SSlibKey.from_dict(stored["keyid"], stored["key"])
        except FileNotFoundError as error:
            raise OperatorError(
                f"no key {name!r} in {self._folder}; known: {self.names()}"
            ) from error
        except _NO_KEY as error:
            raise OperatorError(f"{path} holds no public key; restore it") from error

    def signer(self, name: str) -> CryptoSigner:
        """Open a private key.

        Raises:
            OperatorError: The private half is not here or damaged, or others may read it.
        """
        public, path = self.public(name), self._path(name, "pem")
        if not path.exists():
            raise OperatorError(f"the private half of key {name!r} is not in {self._folder}")
        if path.stat().st_mode & 0o077:
            raise OperatorError(f"key file {path} can be read by others; expected mode 0600")
        return CryptoSigner(self._private(name), public)

    def names(self) -> tuple[str, ...]:
        """List the keys whose public half is here."""
        return tuple(sorted(path.stem for path in self._folder.glob("*.pub")))

    def holds(self, keyids: list[str]) -> bool:
        """Return whether the private half of any of the given keys is here."""
        return any(
            self.public(name).keyid in keyids and self._path(name, "pem").exists()
            for name in self.names()
        )

    def signers_of(self, keyids: list[str]) -> tuple[CryptoSigner, ...]:
        """Open those of the given keys whose private half is here."""
        return tuple(
            self.signer(name)
            for name in self.names()
            if self.public(name).keyid in keyids and self._path(name, "pem").exists()
        )

    def _private(self, name: str) -> Ed25519PrivateKey:
        path = self._path(name, "pem")
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except _NO_KEY as error:
            raise OperatorError(f"{path} holds no private key; restore it") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise OperatorError(f"{path} holds no Ed25519 key; restore it")
        return key

    def _path(self, name: str, suffix: str) -> Path:
        return self._folder / f"{name}.{suffix}"
