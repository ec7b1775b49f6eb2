"""What authorities say of the certificates that NGINX shows, stapled to its handshakes (OCSP, RFC 6960 and 6961).

Comes in: certificates, where the operator's ConfigMap has `enable-ocsp`. Goes out: questions to the responders that
certificates name, and their answers to NGINX's control socket. An answer that is not about the certificate, says
anything but good, or is out of date is not stapled: clients then see what they would see without stapling.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import aiohttp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from msgspec import Struct

from fairlead.agents.lines import log
from fairlead.drivers.errors import FairleadError
from fairlead.model.route_tls import Certificate, CertificateId
from fairlead.render.nginx_dynamic import render_staples

_LOOK_SECONDS, _AGAIN_SECONDS, _ANSWER_SECONDS = 30.0, 300.0, 10.0
_LARGEST = 64 * 1024
_LONGEST = timedelta(days=1)
"""Answers that say no time for the next one are asked for again after this."""


class Subject(Struct, frozen=True):
    """A certificate, who issued it, and where that one's responder is."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    responder: str


class Staple(Struct, frozen=True):
    """An answer (DER) for the certificate with this chain, and when to ask again; empty for none."""

    chain: str
    answer: bytes
    until: datetime


def subject_of(chain: str) -> Subject | None:
    """The first certificate of a PEM chain, if it names a responder and the next one is its issuer."""
    certificates = x509.load_pem_x509_certificates(chain.encode())
    if len(certificates) < 2 or certificates[0].issuer != certificates[1].subject:
        return None
    try:
        access = certificates[0].extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return None
    for each in access:
        named = each.access_location
        if each.access_method == AuthorityInformationAccessOID.OCSP and isinstance(
            named, x509.UniformResourceIdentifier
        ):
            return Subject(certificates[0], certificates[1], named.value)
    return None


def question(subject: Subject) -> bytes:
    """The request for a responder, DER."""
    return (
        ocsp.OCSPRequestBuilder()
        .add_certificate(subject.certificate, subject.issuer, SHA1())
        .build()
        .public_bytes(Encoding.DER)
    )


def check_answer(answer: bytes, subject: Subject, now: datetime) -> datetime:
    """When to ask again. Raises ValueError for an answer that must not be stapled."""
    told = ocsp.load_der_ocsp_response(answer)
    if told.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise ValueError(f"the responder says {told.response_status.name}")
    if told.serial_number != subject.certificate.serial_number:
        raise ValueError("the answer is about another certificate")
    if told.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise ValueError(f"the certificate is {told.certificate_status.name}")
    signers = (subject.issuer, *(each for each in told.certificates if each.issuer == subject.issuer.subject))
    if not any(_signed_by(told, each, subject.issuer) for each in signers):
        raise ValueError("nobody who may has signed the answer")
    ends = told.next_update_utc
    if ends is not None and ends <= now:
        raise ValueError("the answer is out of date")
    return now + (_LONGEST if ends is None else min(_LONGEST, (ends - now) / 2))


def _signed_by(told: ocsp.OCSPResponse, signer: x509.Certificate, issuer: x509.Certificate) -> bool:
    with suppress(InvalidSignature, TypeError, ValueError, x509.ExtensionNotFound):
        if signer is not issuer:
            signer.verify_directly_issued_by(issuer)
            usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            if ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
                return False
        key, hashed = signer.public_key(), told.signature_hash_algorithm
        if hashed is None:
            return False
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(told.signature, told.tbs_response_bytes, padding.PKCS1v15(), hashed)
            return True
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(told.signature, told.tbs_response_bytes, ec.ECDSA(hashed))
            return True
    return False


class Stapler:
    """Keeps NGINX told of good and current answers. `tell` is its control socket, `process` whom it was told."""

    def __init__(self, tell: Callable[[str, bytes], Awaitable[object]], process: Callable[[], int]) -> None:
        self._tell = tell
        self._process = process
        self._wanted: dict[CertificateId, str] = {}
        self._staples: dict[CertificateId, Staple] = {}
        self._told: tuple[int, dict[CertificateId, bytes]] = (0, {})
        self._news = asyncio.Event()

    def want(self, certificates: Iterable[Certificate], *, enabled: bool) -> None:
        """Staple to these, or to none."""
        wanted = {each.id: each.chain for each in certificates} if enabled else {}
        if wanted != self._wanted:
            self._wanted = wanted
            self._news.set()

    async def run(self) -> None:
        """Ask and tell for ever."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS)) as session:
            while True:
                self._news.clear()
                await self.look(session, datetime.now(UTC))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), _LOOK_SECONDS)

    async def look(self, session: aiohttp.ClientSession, now: datetime) -> None:
        """Ask for what is missing or old, and tell NGINX where it does not know."""
        for named, chain in list(self._wanted.items()):
            known = self._staples.get(named)
            if known is None or known.chain != chain or known.until <= now:
                self._staples[named] = await self._ask(session, named, chain, now)
        answers = {
            named: staple.answer
            for named, staple in self._staples.items()
            if staple.answer and self._wanted.get(named) == staple.chain
        }
        self._staples = {named: staple for named, staple in self._staples.items() if named in self._wanted}
        if (process := self._process()) and self._told != (process, answers):
            await self._pass_on(process, answers)

    async def _pass_on(self, process: int, answers: Mapping[CertificateId, bytes]) -> None:
        with suppress(FairleadError):  # NGINX begins or ends: it is told at the next look
            await self._tell("/staples", render_staples(answers))
            self._told = process, dict(answers)

    async def _ask(self, session: aiohttp.ClientSession, named: CertificateId, chain: str, now: datetime) -> Staple:
        subject = subject_of(chain)
        if subject is None:
            return Staple(chain, b"", now + _LONGEST)
        try:
            async with session.post(
                subject.responder, data=question(subject), headers={"Content-Type": "application/ocsp-request"}
            ) as response:
                answer = await response.content.read(_LARGEST)
            return Staple(chain, answer, check_answer(answer, subject, now))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            secret = f"{named.namespace}/{named.secret}"
            log(
                event="not-stapled",
                secret=secret,
                responder=subject.responder,
                error=str(error) or type(error).__name__,
            )
            return Staple(chain, b"", now + timedelta(seconds=_AGAIN_SECONDS))
