"""A certificate authority of a test's own, and what it signed for a server and for a client."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

DAYS = "2"


@dataclass(frozen=True)
class Certificates:
    """PEM files.

    Attributes:
        authority: Whom to believe.
        server: Of 127.0.0.1; its key is ``server_key``.
        client: Of who asks; its key is ``client_key``.
    """

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make an authority, and let it sign two certificates."""
    authority, key = folder / "ca.pem", folder / "ca.key"
    _openssl(
        "req", "-x509", *_new_key(key), "-days", DAYS, "-subj", "/CN=Test authority",
        "-addext", "basicConstraints=critical,CA:TRUE", "-out", str(authority),
    )  # fmt: skip
    sign(folder, "server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    sign(folder, "client", "extendedKeyUsage=clientAuth\n")
    return Certificates(
        authority,
        folder / "server.pem",
        folder / "server.key",
        folder / "client.pem",
        folder / "client.key",
    )


def sign(folder: Path, name: str, extensions: str, *, days: str = DAYS) -> tuple[Path, Path]:
    """Let the authority in a folder sign ``name.pem``, and return it and its key.

    Args:
        folder: Where an authority was made.
        name: Of the files, and the common name.
        extensions: As openssl reads them.
        days: From now to its end; negative for one that is over.
    """
    authority, key = folder / "ca.pem", folder / "ca.key"
    request, about = folder / f"{name}.csr", folder / f"{name}.ext"
    about.write_text(f"basicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n{extensions}")
    own_key, signed = folder / f"{name}.key", folder / f"{name}.pem"
    _openssl("req", *_new_key(own_key), "-subj", f"/CN={name}", "-out", str(request))
    _openssl(
        "x509", "-req", "-in", str(request), "-CA", str(authority), "-CAkey", str(key),
        "-CAcreateserial", "-days", days, "-extfile", str(about), "-out", str(signed),
    )  # fmt: skip
    return signed, own_key


def _new_key(path: Path) -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", str(path)]  # fmt: skip


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
