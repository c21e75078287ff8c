"""Columns of secrets, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from tranship.schemas.column_names import LONGEST, REMEMBERED, fold, shared_affixes, unwrapped

_SECRET: Final = re.compile(
    r".*(?:password|passwd|passwort|kennwort|motdepasse|contrasena|wachtwoord|losenord|apikey|secretkey|clientsecret|privatekey)"
    r"(?:hash|digest|salt|encrypted)?|(?:user|customer|login|account)?(?:pass|pwd|pw|pin|secret|salt)(?:hash|word|salt)?|"
    r"(?:encrypted|hashed)(?:pass|password)|.*(?:access|refresh|auth|api|rp|reset|session|login|remember|bearer|payment|card)?token|"
    r".*(?:socialsecurity(?:number|no)?|nationalinsurancenumber|sozialversicherungsnummer|passportnumber|passportno)|"
    r".*(?:national|government|swedish|danish|citizen)id(?:number|no|code)?|.*(?:identity|nationalidentification)(?:number|no)|"
    r".*(?:personnummer|cprnummer|burgerservicenummer|pesel|nationalinsuranceno|henkilotunnus)|"
    r"(?:.*customer|.*tax|.*personal)?(?:ssn|bsn)(?:number|last4)?|"
    r"(?:.*card|.*creditcard|cc)(?:number|no|num|pan|cvv|cvc|securitycode)|creditcard|cvv|cvc|"
    r".*iban(?:nr|no|number|nummer)?[0-9]{0,2}|(?:.*bank|.*checking)(?:details|info)?(?:account|acct|acc)(?:number|num|no|nr)?|(?:bank)?routingnumber|"
    r"sortcode|banksortcode|kontonummer|bankkonto(?:nummer|nr)?[0-9]{0,2}|"
    r"(?:bank)?rekeningnummer|bankrekening(?:nummer)?|n(?:ume)?r?o?konta(?:bankowego)?|rachunekbankowy|cislouctu|bankszamlaszam|bankszamla|"
    r"(?:.*utilisateur|.*user)?mdp|.*(?:contrasenia|contrasenya|paroladordine|clavedeacceso|claveacceso)|"
    r".*(?:motdepasse|motpasse|senha|palavrapasse|palavradepasse|adgangskode|kodeord|passord|salasana|haslo|heslo|jelszo)(?:hash)?|"
    r".*(?:fodselsnummer|fodselsnr|cprnr|rodnecislo|tajszam|bsnnummer)|cpr|personnr|"
    r"(?:n|no|num|numero)?(?:de|da|di|della)?(?:securitesociale|secu|seguridadsocial|segurancasocial|sicurezzasociale)|niss|"
    r"(?:nr|n|no|num|numero)?(?:du|de|do|di)?(?:passeport|pasaporte|passaporto|passaporte)|"
    r"(?:reisepass|paspoort|pass|pas|paszportu|paszport)(?:nummer|nr)|(?:nr|numer)paszportu|"
    r"(?:kredit|credit)(?:karten?|card|kaart|kort)(?:nummer|nr)?|"
    r"(?:n|no|num|numero)?(?:de|da|di|della)?(?:cartebancaire|cartedecredit|tarjetadecredito|cartadicredito|cartaodecredito)|"
    r"(?:n|no|nr|num|numero)?(?:de|du|di|del|da|dela)?(?:compte(?:bancaire|enbanque)|cuenta(?:bancaria|debanco|corriente)|"
    r"conto(?:corrente|bancario)|conta(?:bancaria|corrente))|rib|clabe|cbu|bankverbindung|bankrekeningnr|"
    r"(?:nr|numer)rachunku(?:bankowego)?|kontobankowe|bankovniucet|cislo(?:bankovniho)?uctu|pankkitili(?:nnumero)?"
)
_NO_SECRET: Final = re.compile(r".*(?:at|on|date|time|(?<!ac)count|status|type|enabled|required|expires|expiry)")


@lru_cache(maxsize=REMEMBERED)
def is_secret(column: str) -> bool:
    """Return whether a column contains passwords, tokens, or card, bank account or social security numbers. Such a
    column is used only if it is mapped on purpose.
    """
    folded = fold(unwrapped(column))[-LONGEST:]  # the words that count are at the end
    if _NO_SECRET.fullmatch(folded):
        return False
    if (label := _label(column[-LONGEST:])) and is_secret(label):
        return True
    return _SECRET.fullmatch(folded) is not None or any(map(_is_secret_object, column[-LONGEST:].split(".")[:-1]))


def _label(column: str) -> str:
    """Return the name of a custom field without what a system adds: `SSN (custom_3)`, `IBAN [cf_2]`, `Custom: CVV`;
    empty if nothing is added."""
    matched = _DECORATED.fullmatch(column)
    if matched is None or (matched["remark"] and _HARMLESS.search(fold(matched["remark"]))):
        return ""
    return next(filter(None, (matched["label"], matched["front"], matched["behind"])), "").strip()


_DECORATED: Final = re.compile(
    r"(?i)(?P<label>[^()\[\]{}]*\S)\s*[(\[{](?P<remark>[^()\[\]{}]+)[)\]}]\s*|"
    r"(?P<front>.*\S)\s*(?:\s[-–|]|:)\s*custom.*|(?:custom|question|form|cf|field)[^:]*:\s*(?P<behind>[^:]+)"
)
_HARMLESS: Final = re.compile("last|mask|date|type|status|time|count|expir|brand|hint|end")


def _is_secret_object(name: str) -> bool:
    """Return whether all that an object of this name contains is secret: `password.hash.value`."""
    folded = fold(name)
    return _SECRET.fullmatch(folded) is not None and not _NO_SECRET.fullmatch(folded)


def secrets(columns: Sequence[str]) -> frozenset[str]:
    """Return the columns of secrets among those of a source: by their own names, without the prefix that all of them
    share, and the number of an account beside the code of its bank.
    """
    return _secrets(tuple(columns))


@lru_cache(maxsize=64)
def _secrets(columns: tuple[str, ...]) -> frozenset[str]:
    inner = list(map(shared_affixes(columns).within, columns))
    found = {column for column, bare in zip(columns, inner, strict=True) if is_secret(column) or is_secret(bare)}
    folded = [fold(unwrapped(bare))[-LONGEST:] for bare in inner]
    banks = [at for at, name in enumerate(folded) if _BANK.fullmatch(name)]
    beside = {at for bank in banks for at in range(max(bank - _BESIDE, 0), bank + _BESIDE + 1)}
    # The number of a customer may be the first column, or stand beside a bank by chance at one side.
    between = {
        at
        for at in range(1, len(columns) - 1)
        if _OF_BANK.fullmatch(folded[at - 1]) and _OF_BANK.fullmatch(folded[at + 1])
    }
    if not _LOGINS.isdisjoint(folded):
        found |= {column for column, name in zip(columns, folded, strict=True) if name == "clave"}
    found |= {columns[at] for at in beside | between if at < len(columns) and _ACCOUNT.fullmatch(folded[at])}
    return frozenset(found)


_LOGINS: Final = frozenset({"usuario", "nombreusuario", "nombredeusuario", "login", "user", "username"})
"""Beside one of these columns, the Spanish word `Clave` is a password; elsewhere it is a key."""
_BESIDE: Final = 2
"""How many columns away the code of the bank is at most: further away, the account may be that of the customer."""
_ACCOUNT: Final = re.compile(
    r"(?:account|acct)(?:number|no|num|nr)?|kontonr|konto|kontonum|(?:numero|num|n|no)?(?:de|di)?(?:cuenta|conto|compte)|"
    r"(?:numero|num|n|no)?(?:da|de)?conta|rekeningnr|rekening|tilinumero"
)
_BANK: Final = re.compile(
    r"(?:bank)?routing(?:number|no|num|nr|code)?|aba(?:number|no)?|(?:bank)?sortcode|bsb(?:number|no|code)?|"
    r"blz|bankleitzahl|bankaccounttype|code(?:banque|guichet)|codigo(?:de)?(?:banco|sucursal)|abi|abicab|"
    r"(?:bank)?clearing(?:number|nr|nummer)"
)
_OF_BANK: Final = re.compile(
    r"(?:name)?(?:of)?(?:the|der|de|la)?(?:bank|banque|banco|banca)(?:name|nom)?|(?:bank)?(?:bic|swift)(?:code|bic)?|"
    r"(?:bank)?iban.*|(?:bank)?account(?:holder|holdername|name|type)|kontoinhaber|kontoart|rekeninghouder|"
    r"titulaire(?:ducompte)?|titular(?:delacuenta|daconta)?|intestatario(?:conto)?|" + _BANK.pattern
)
