"""Whose name a result is signed with: the user's own key and certificate, or a pair made here at the first run.

The variable STITCH_SIGNER names one's own: a folder with chain.pem and key.pem, one PEM file that holds both, or the
two files with the system's path separator between them. The chain begins with the certificate of the key.
"""

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

import c2pa
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock
from platformdirs import user_data_path

from stitch.core.errors import TrustError
from stitch.runtime.disk import disk_errors

VARIABLE = "STITCH_SIGNER"
MADE_HERE = "Stitch, self-signed"
"""The common name of every certificate that Stitch makes for itself."""
_CHAIN, _KEY = "chain.pem", "key.pem"
_LASTS = datetime.timedelta(days=3650)
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Identity:
    """A key and its certificates.

    Attributes:
        chain: PEM, the key's own certificate first.
        key: PEM, not encrypted.
        algorithm: C2PA's name of how it signs.
        name: the certificate's common name.
        own: it is the user's and not made here.
    """

    chain: bytes
    key: bytes
    algorithm: c2pa.C2paSigningAlg
    name: str
    own: bool

    def signer(self) -> c2pa.Signer:
        """What signs one file.

        Raises:
            c2pa.C2paError: the chain or the key cannot be used.
        """
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(self.algorithm, self.chain, self.key, None))


def identity() -> Identity:
    """The user's own, or else the one of this machine, made if there is none yet.

    Raises:
        TrustError: it cannot be read, has expired, does not fit, or cannot be made.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        folder = made_here()
        return _read(folder / _CHAIN, folder / _KEY, own=False)
    paths = [Path(one) for one in named.split(os.pathsep)]
    if len(paths) == 1 and paths[0].is_dir():
        paths = [paths[0] / _CHAIN, paths[0] / _KEY]
    if len(paths) > 2:
        raise TrustError(f"{VARIABLE}={named}: name a folder with {_CHAIN} and {_KEY}, one PEM file, or two")
    return _read(paths[0], paths[-1], own=True)


def made_here() -> Path:
    """The folder with this machine's own pair, for its user's eyes alone; made if it is not there.

    The authority's key is thrown away at once: nothing else will ever be signed in its name.

    Raises:
        TrustError: the folder cannot be written.
    """
    folder = user_data_path("stitch", appauthor=False) / "signer"
    with disk_errors(f"the key that results are signed with, {folder}", TrustError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(folder / "lock"):
            if not (folder / _CHAIN).is_file() or not (folder / _KEY).is_file():
                chain, key = _made()
                _write_private(folder / _KEY, key)
                _write_private(folder / _CHAIN, chain)
    return folder


def _write_private(path: Path, content: bytes) -> None:
    """For its owner alone from the first moment on."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        os.fsync(file.fileno())


def _read(chain_path: Path, key_path: Path, own: bool) -> Identity:
    what = f"{VARIABLE}" if own else "the key that results are signed with"
    remedy = f"correct {VARIABLE}" if own else f"delete {key_path.parent}: a new pair is made with the next result"
    try:
        chain, key = chain_path.read_bytes(), key_path.read_bytes()
        certificate = x509.load_pem_x509_certificates(chain)[0]
        private = serialization.load_pem_private_key(key, None)
    except OSError as error:
        raise TrustError(f"{what}: {error.filename} cannot be read ({error.strerror}); {remedy}") from error
    except TypeError as error:
        raise TrustError(f"{what}: {key_path} is locked with a password; {remedy}") from error
    except (ValueError, IndexError, UnsupportedAlgorithm) as error:
        raise TrustError(f"{what}: {chain_path} and {key_path} hold no certificate and key in PEM; {remedy}") from error
    if _public(private.public_key()) != _public(certificate.public_key()):
        raise TrustError(f"{what}: the first certificate of {chain_path} is not that of the key; {remedy}")
    if certificate.not_valid_after_utc < datetime.datetime.now(datetime.timezone.utc):
        raise TrustError(f"{what}: the certificate in {chain_path} has expired; {remedy}")
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    plain = private.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificates = b"".join(one.public_bytes(_PEM) for one in x509.load_pem_x509_certificates(chain))
    return Identity(certificates, plain, _algorithm(private, what), str(names[0].value) if names else "?", own)


def _algorithm(key: object, what: str) -> c2pa.C2paSigningAlg:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return c2pa.C2paSigningAlg[_CURVES[key.curve.name]]
    if isinstance(key, rsa.RSAPrivateKey):
        return c2pa.C2paSigningAlg.PS256
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return c2pa.C2paSigningAlg.ED25519
    raise TrustError(f"{what}: a key of this kind cannot sign; take P-256, P-384, P-521, RSA or Ed25519")


def _public(key: object) -> bytes:
    return key.public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]


def _made() -> tuple[bytes, bytes]:
    """Chain and key: an authority that signs one certificate, since C2PA refuses those that sign themselves."""
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = _name(f"{MADE_HERE}: authority of this machine"), _name(MADE_HERE)
    root = _certificate(issuer, issuer, authority.public_key(), True).sign(authority, hashes.SHA256())
    leaf = _certificate(subject, issuer, own.public_key(), False).add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
    ).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
    ).sign(authority, hashes.SHA256())
    key = own.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return leaf.public_bytes(_PEM) + root.public_bytes(_PEM), key


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, authority: bool
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + _LASTS)
        .add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([
        x509.NameAttribute(NameOID.COMMON_NAME, common),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "made on the machine of whoever used it"),
    ])
