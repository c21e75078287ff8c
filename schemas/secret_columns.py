"""Columns of secrets, by their names."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from tranship.schemas.column_names import LONGEST, REMEMBERED, fold, unwrapped

_SECRET: Final = re.compile(
    r".*(?:password|passwd|passwort|motdepasse|contrasena|wachtwoord|losenord|apikey|secretkey|clientsecret|privatekey)"
    r"(?:hash|digest|salt|encrypted)?|(?:user|customer|login|account)?(?:pass|pwd|pw|pin|secret|salt)(?:hash|word)?|"
    r"(?:encrypted|hashed)(?:pass|password)|.*(?:access|refresh|auth|api|rp|reset|session|login|remember|bearer|payment|card)?token|"
    r".*(?:socialsecurity(?:number|no)?|nationalinsurancenumber|sozialversicherungsnummer|passportnumber|passportno)|"
    r".*(?:national|government|swedish|danish|citizen)id(?:number|no|code)?|.*(?:identity|nationalidentification)(?:number|no)|"
    r".*(?:personnummer|cprnummer|burgerservicenummer|pesel|nationalinsuranceno|henkilotunnus)|"
    r"(?:.*customer|.*tax|.*personal)?(?:ssn|bsn)(?:number|last4)?|"
    r"(?:.*card|.*creditcard|cc)(?:number|no|num|pan|cvv|cvc|securitycode)|creditcard|cvv|cvc|"
    r".*iban(?:nr|no|number|nummer)?[0-9]{0,2}|(?:.*bank|.*checking)account(?:number|no)|(?:bank)?routingnumber|"
    r"sortcode|banksortcode|kontonummer|bankkonto(?:nummer|nr)?[0-9]{0,2}|"
    r"(?:bank)?rekeningnummer|bankrekening(?:nummer)?|n(?:ume)?r?o?konta(?:bankowego)?|rachunekbankowy|"
    r".*(?:motdepasse|senha|palavrapasse|palavradepasse|adgangskode|kodeord|passord|salasana|haslo|heslo)(?:hash)?|"
    r".*(?:fodselsnummer|fodselsnr|cprnr|rodnecislo|bsnnummer)|cpr|personnr|"
    r"(?:n|no|num|numero)?(?:de|da|di|della)?(?:securitesociale|secu|seguridadsocial|segurancasocial|sicurezzasociale)|niss|"
    r"(?:nr|n|no|num|numero)?(?:du|de|do|di)?(?:passeport|pasaporte|passaporto|passaporte)|"
    r"(?:reisepass|paspoort|pass|pas|paszportu|paszport)(?:nummer|nr)|(?:nr|numer)paszportu|"
    r"(?:kredit|credit)(?:karten?|card|kaart|kort)(?:nummer|nr)?|kontonr|rekeningnr|"
    r"(?:n|no|num|numero)?(?:de|da|di|della)?(?:cartebancaire|cartedecredit|tarjetadecredito|cartadicredito|cartaodecredito)|"
    r"(?:numero(?:de)?)?comptebancaire|(?:numero(?:de)?)?cuentabancaria|contocorrente|clabe"
)
_NO_SECRET: Final = re.compile(r".*(?:at|on|date|time|count|status|type|enabled|required|expires|expiry)")


@lru_cache(maxsize=REMEMBERED)
def is_secret(column: str) -> bool:
    """Return whether a column contains passwords, tokens, or card, bank account or social security numbers. Such a
    column is used only if it is mapped on purpose.
    """
    folded = fold(unwrapped(column))[-LONGEST:]  # the words that count are at the end
    if _NO_SECRET.fullmatch(folded):
        return False
    return _SECRET.fullmatch(folded) is not None or any(map(_is_secret_object, column[-LONGEST:].split(".")[:-1]))


def _is_secret_object(name: str) -> bool:
    """Return whether all that an object of this name contains is secret: `password.hash.value`."""
    folded = fold(name)
    return _SECRET.fullmatch(folded) is not None and not _NO_SECRET.fullmatch(folded)
