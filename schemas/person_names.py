"""Columns of first, last and full names and of companies, and the resulting rules for a customer's name.

A company beside a person is the customer, and the person its billing contact. Names are compared folded
(`column_names.py`), with and without words in front that show whose name it is: `Billing First Name`,
`customer[first_name]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from tranship.schemas import header_phrases
from tranship.schemas.column_names import (
    LONGEST,
    Affixes,
    fold,
    of_first,
    shared_affixes,
    unwrapped,
    with_number_sign_in_words,
)
from tranship.schemas.header_labels import NAMES_OF_LABELS
from tranship.schemas.header_scripts import NAMES_OF_SCRIPTS, Part
from tranship.schemas.header_words import MEMBERS, word_set

Role = Part

_WORDS: Final[dict[Role, str]] = {
    "first": "voorletters initialen initials initialer first_name given_name first_names given_names first_nm fst_nm "
    "f_name "
    "forename fname "
    "christian_name vorname prenom nombre_de_pila primer_nombre "
    "pren prenoms nome_di_battesimo primeiro_nome nome_proprio nomes_proprios voornaam fornavn fornamn etunimi "
    "imie imię "
    "jmeno meno krestni_jmeno keresztnev utonev krstne_meno",
    "middle": "middle_name second_name zweiter_vorname deuxieme_prenom segundo_nombre secondo_nome nome_do_meio "
    "tussenvoegsel tussenvoegsels tussenv voorvoegsel voorvoegsels tussenvoegsel_achternaam voorvoegsel_achternaam "
    "vorsatzwort namensvorsatz mellannamn mellomnavn mellemnavn",
    "last": "last_name surname family_name last_nm lst_nm l_name surnames lname nachname familienname "
    "zuname nom_de_famille apellido apellidos apellido_paterno paternal_surname paternal_last_name father_last_name "
    "first_last_name first_surname "
    "primer_apellido cognome sobrenome sobrenomes apelido apelidos ultimo_nome achternaam efternavn etternavn "
    "efternamn "
    "sukunimi "
    "nom_d_usage nom_usuel "
    "nazwisko prijmeni priezvisko vezeteknev csaladnev co_last_name",
    "second_last": "segundo_apellido apellido_materno second_last_name second_surname maternal_surname "
    "maternal_last_name mother_last_name",
    "full": "full_name person person_name nom nom_complet nombre nombres nomes nombre_completo nombre_y_apellidos nome "
    "nome_completo "
    "naam volledige_naam namn fullstandigt_namn navn fulde_navn fullt_navn nimi vollstandiger_name vor_und_nachname "
    "cognome_e_nome nome_e_cognome nome_cognome nominativo nom_et_prenom nom_prenom prenom_nom prenom_et_nom "
    "imie_i_nazwisko nazwisko_i_imie imie_nazwisko jmeno_a_prijmeni meno_a_priezvisko teljes_nev "
    "apellidos_y_nombre apellidos_nombre "
    "nombre_apellidos nombre_y_apellido apellido_y_nombre apellido_nombre nombres_y_apellidos apellidos_y_nombres "
    "nombres_apellidos apellidos_nombres nome_e_sobrenome nome_sobrenome nome_e_apelido for_og_etternavn "
    "for_og_efternavn "
    "fornavn_og_etternavn fornavn_og_efternavn for_och_efternamn voor_en_achternaam naam_en_voornaam",
    "contact": "cntctprsn attention_person buyer_contact contact_name primary_contact main_contact "
    "primary_contact_name main_contact_name contact_nm "
    "hauptansprechpartner kontakt_person ansprechperson interlocuteur contact_principal persona_contacto "
    "contacto_principal nombre_persona_contacto persona_riferimento er_referens deres_reference your_contact "
    "deres_kontaktperson osoba_do_kontaktu kontaktni_osoba kontaktna_osoba kapcsolattarto kapcsolattarto_neve "
    "contact_naam naam_contact "
    "naam_contactpersoon contactpersoon_naam contact_person cntcprsn cntct_prsn contact_full_name "
    "ansprechpartner kontaktperson kontaktname contactpersoon "
    "nom_contact nom_du_contact personne_de_contact "
    "persona_de_contacto nombre_de_contacto persona_di_contatto referente "
    "pessoa_de_contato pessoa_de_contacto nome_contacto nome_contato nome_do_contacto nombre_contacto "
    "guest_name attendee_name participant_name supporter_name constituent_name gast_name teilnehmer_name mieter_name "
    "att_person att attn for_the_attention_of a_l_attention_de z_hd zu_haenden_von atencion t_a_v att_til "
    "kontakt_navn kontaktnamn osoba_kontaktowa yhteyshenkilo",
    "company": "sales_account sales_accounts nombre_fiscal "
    "company company_name corporate_name company_nm firm_nm organization_nm org_name org organisatie "
    "societa ditta impresa compania compagnie companhia nome_societa nome_ditta nombre_sociedad "
    "raison razon raz_social razon_soc rsocial r_sociale "
    "nom_societe organisme denominacion denominacao rag_soc rag_soc_1 ragione_sociale_1 raison_sociale_1 "
    "razon_social_1 "
    "nome_empresa firma_1 firma1 firmenname1 firmenname_1 firmenbezeichnung firmabezeichnung "
    "bedrijf_naam nom_organisation "
    "organisationsname firmaname navn_virksomhed company_name1 firmennavn nazwa_przedsiebiorstwa "
    "associated_company nom_entreprise nombre_empresa organization "
    "organization_name organisation organisation_name business "
    "business_name account_name firm firm_name firma firmenname unternehmen unternehmensname entreprise "
    "nom_de_l_entreprise societe nom_de_la_societe raison_sociale empresa nombre_de_la_empresa razon_social azienda "
    "nome_azienda ragione_sociale denominazione nazwa_firmy nazev_firmy nazov_firmy obchodne_meno cegnev bedrijf "
    "bedrijfsnaam nome_da_empresa razao_social "
    "foretag foretagsnamn virksomhed "
    "virksomhedsnavn firmanavn bedrift bedriftsnavn yritys yrityksen_nimi",
    "trading": "trading_name trade_name trading_as dba doing_business_as nom_commercial nombre_comercial nome_fantasia "
    "nome_comercial nome_commerciale nombre_fantasia fantasia handelsnaam handelsname",
    "display": "display_name anzeigename nom_d_affichage nombre_para_mostrar nome_visualizzato visningsnavn "
    "visningsnamn",
}
_ROLE_OF: Final[dict[str, Role]] = {
    fold(word): role
    for words_of_role in (NAMES_OF_LABELS, _WORDS, NAMES_OF_SCRIPTS)
    for role, words in words_of_role.items()
    for word in words.split()
}
_CONTACT: Final = (
    "contact contacto contatto contato contactpersoon kontaktperson interlocuteur referente responsable responsabile "
    "responsavel persona"
)
_NAMES_OF_CONTACTS: Final = frozenset(
    name + link + contact
    for name in ("nom", "nombre", "nome", "naam", "navn", "namn")
    for link in ("", "de", "del", "dela", "do", "da", "du", "di", "van")
    for contact in _CONTACT.split()
)
_ROLE_OF.update({name: "contact" for name in _NAMES_OF_CONTACTS if name not in _ROLE_OF})

# Words that mean a last name beside a first name, and a whole name or a first name elsewhere.
_LAST_BESIDE_FIRST: Final = frozenset(map(fold, ["name", "nom", "naam", "navn", "namn", "nimi"]))
_FIRST_WORDS_OF_NAME: Final = frozenset(
    map(
        fold,
        ["vorname", "prenom", "prenoms", "pren", "voornaam", "fornavn", "fornamn", "etunimi", "imie", "jmeno", "meno"],
    )
)
_INITIALS: Final = frozenset(["voorletters", "initialen", "initials", "initialer"])
"""Used as a first name only beside a last name, and where there is no first name."""
_OF_FORENAMES: Final = "voorletters"
"""Initials that always are those of the first names: `Naam` beside them is the last name."""
_LAST_OF_CONTACT: Final = frozenset(map(fold, ["nom_contact", "nom_du_contact"]))
_FIRST_BESIDE_LAST: Final = frozenset(map(fold, ["nombre", "nombres", "nome", "nomes"]))
_PLAIN_NAMES: Final = _LAST_BESIDE_FIRST | _FIRST_BESIDE_LAST
_WORDS_FOR_ACCOUNTS: Final = frozenset(map(fold, ["account", "accounts"]))
"""Words for the company of a person in a CRM; elsewhere they may be a number."""
_JOB_TITLES: Final = frozenset(map(fold, ["job_title", "title", "position", "job_position", "role_title"]))
_LAST_WORDS_OF_NAME: Final = frozenset(
    map(
        fold,
        [
            "apellido",
            "apellidos",
            "apellido_paterno",
            "primer_apellido",
            "cognome",
            "sobrenome",
            "sobrenomes",
            "apelido",
            "apelidos",
            "ultimo_nome",
        ],
    )
)

# Words that are part of a person's name only if the same person has both: `contact.first` and `contact.last`.
_BARE: Final[dict[str, Role]] = {
    "first": "first",
    "given": "first",
    "middle": "middle",
    "last": "last",
    "family": "last",
}

# Columns that only persons have: beside them, `Name` is that of a person.
_PERSONAL: Final = (
    "title salutation job_title position anrede briefanrede titel civilite tratamiento titolo aanhef tilltal "
    "tiltale job_position job role_title gender sex geschlecht birthday birth_date birthdate date_of_birth dob "
    "function job_function job_level seniority nickname pronouns reports_to nationality marital_status "
    "funktion fonction funcion funzione functie cargo puesto ruolo stanowisko beruf "
    "geburtsdatum date_de_naissance fecha_de_nacimiento data_di_nascita geboortedatum department "
    # ids and consents of persons
    "user_id contact_id person_id lead_id subscriber_id member_id attendee_id participant_id student_id patient_id "
    "benutzer_id kontakt_id personen_id mitglieds_nr mitgliedsnummer "
    "email_opt_in email_opt_out opt_in opt_out optin optout marketing_opt_in sms_opt_in email_marketing_consent "
    "accepts_marketing accepts_email_marketing newsletter_opt_in consent_to_track subscribed unsubscribed "
    "date_subscribed subscribed_at subscription_date opens clicks email_permission_status email_status "
    "email_subscriber_status mailing_lists double_opt_in "
)
_OF_PERSONS: Final = frozenset(map(fold, _PERSONAL.split()))

# Attributes of LDAP (RFC 4519), beside `cn`.
_OF_DIRECTORY: Final[dict[str, Role]] = {"sn": "last", "cn": "full", "o": "company"}

_OWNER_WORDS: Final = (
    (
        "customer client account user member lead property customers clients accounts users members "
        "kunde kunden cliente klant kund cust cli kd usr party "
        "person name buyer shopper purchaser debitor subscriber patient donor student "
        "lid medlem medlems mitglied mitglieds jasen jasenen clen clena czlonek czlonka "
        "payeur acheteur comprador pagador acquirente pagatore mittente remitente remetente expediteur intestatario "
        "titular titulaire titolare"
    ),
    (
        "displaycontact contactinfo contactdetails contact contacts contactpersons persons primary main default "
        "address addresses associated to kontakt "
        "contacto contatto guest attendee participant supporter constituent gast teilnehmer mieter spender patienten "
        "adherent membre socio abonne assinante "
        "aderente associe associado abonnenten adres adress adresse anschrift direccion indirizzo endereco morada "
        "vestigings"
    ),
    (
        "billing bill invoice rechnung rechnungs facturation facture facturacion fatturazione facturatie factuur "
        "faturamento faturacao cobranca faktura fakturerings laskutus faktury"
    ),
)
_OWNERS: Final = {word: rank for rank, words in enumerate(_OWNER_WORDS) for word in words.split()}
"""Word in front of a name → its rank: the customer's own name precedes that of a contact, which precedes that of the
billing contact."""


class People(Struct, frozen=True):
    """The columns of names. `first_last` are those of one person, in order; `billing` the same of the billing contact,
    if it has separate columns; `contact` and `full` are full names; `unclear` is two columns of companies or of display
    names, between which a person must choose. Missing ones are null or empty.
    """

    first_last: tuple[str, ...] = ()
    billing: tuple[str, ...] = ()
    full: str | None = None
    contact: str | None = None
    company: str | None = None
    display: str | None = None
    unclear: tuple[str, ...] = ()
    is_trading: bool = False
    """Whether the company is a trading name, which gives way to a customer's name."""
    is_plain: bool = False
    """Whether `full` is a word for any name, such as `Nombre`, and not that of a contact."""
    is_short: bool = False
    """Whether `full` may be the short name of the company, such as `Nome` beside `Razão social`, and is not evidently
    that of a person."""
    is_half: bool = False
    """Whether `first_last` is a first name without a last name, or the other way round."""
    passed_over: tuple[str, ...] = ()
    """Companies of something else than the person, such as `address.company` beside `contact.company`."""
    doubles: tuple[str, ...] = ()
    """Further columns of the same part of the person's name, such as `Given Name` beside `First Name`."""

    @property
    def person(self) -> tuple[str, ...]:
        """The columns of the person's name, joined with blanks."""
        whole = self.contact or self.full
        return self.first_last or ((whole,) if whole else ())

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of names."""
        return tuple(
            dict.fromkeys((*self.whole_names, *self.unclear, *self.first_last, *self.billing, *self.passed_over))
        )

    @property
    def whole_names(self) -> tuple[str, ...]:
        """The columns that contain a full name: display name, company, contact, full name."""
        return tuple(name for name in (self.display, self.company, self.contact, self.full) if name)


def find(columns: Sequence[str]) -> People:
    """Return the columns of names among those of a source. A trading name is used as the name of a company that has no
    other."""
    found: dict[Role, list[tuple[int, tuple[str, ...], str]]] = {}
    for column, role, owner in _roles(columns):
        rank = max((_OWNERS[word] for word in owner), default=-1)
        found.setdefault(role, []).append((rank, owner, column))
    groups = sorted({(rank, owner) for role in ("first", "last") for rank, owner, _ in found.get(role, [])})
    own = next((group for group in groups if group[0] < 2), groups[0] if groups else None)
    billing = next((group for group in groups if group[0] == 2 and group != own), None)
    whole: dict[Role, str] = {}
    own_words = own[1] if own else ()
    unclear: list[str] = []
    passed_over: list[str] = []
    is_trading = "company" not in found and "trading" in found
    if is_trading:
        found["company"] = found["trading"]
    if not MEMBERS.isdisjoint(own_words):  # `Organisatie` beside `Lid voornaam` and `Lid straat`
        others = [place for place in found.get("company", []) if place[1] != own_words]
        if (of_group := [column for *_, column in others if _is_described(column, columns)]) and len(others) == 1:
            passed_over += of_group
            del found["company"]
    contacts = found.get("contact", [])
    to_attention = [place for place in contacts if _ATTENTION.fullmatch(_split(place[2])[0])]
    if to_attention and len(contacts) == len(to_attention) + 1 and not {"company", "full"} & {*found}:
        (customer,) = (place for place in contacts if place not in to_attention)
        if not any(fold(column).endswith(_NAMES) for column in columns if column != customer[2]):
            # `Kontaktnavn` beside `Att. person` is the customer.
            found |= {"company": [customer], "contact": to_attention}
    own_companies = [place for place in found.get("company", []) if not _is_reference(place[2])]
    if own_companies:  # `company_name` precedes `account.name`
        passed_over += [column for *_, column in found["company"] if _is_reference(column)]
        found["company"] = own_companies
    for role in ("company", "display", "contact", "full"):
        # `contact.company` beside `contact.first` precedes `address.company`.
        ranked = sorted(found.get(role, []), key=lambda place: (place[0], place[1] != own_words, place[1]))
        best = [column for rank, owner, column in ranked if (rank, owner) == ranked[0][:2]]
        if role == "company":  # `addresses[0].company` beside `companyName`
            is_own = bool(ranked) and ranked[0][1] == own_words
            passed_over += [
                column
                for rank, owner, column in ranked
                if owner != ranked[0][1] and ("addresses" in owner or (is_own and rank == ranked[0][0]))
            ]
        if role in ("company", "display") and len(best) > 1:
            unclear += best
        elif best:
            whole[role] = best[0]
    # `Nom adhérent` beside `Nom payeur`, which may be read as names of customers by themselves
    passed_over += [
        column
        for role in ("first", "last")
        for rank, owner, column in found.get(role, [])
        if (rank, owner) not in (own, billing) and not _HOLDING.isdisjoint(owner)
    ]
    is_plain = "full" in whole and _is_plain(whole["full"], shared_affixes(columns))
    is_legal = "company" in whole and _split(shared_affixes(columns).within(whole["company"]))[0] in _LEGAL
    return People(
        first_last=_of_group(found, own),
        billing=_of_group(found, billing),
        full=whole.get("full"),
        contact=whole.get("contact"),
        company=whole.get("company"),
        display=whole.get("display"),
        unclear=tuple(unclear),
        is_trading=is_trading,
        is_plain=is_plain,
        is_short=is_plain and is_legal and not own and not are_persons(columns),
        is_half=len({role for role in ("first", "last") for *of, _ in found.get(role, []) if tuple(of) == own}) == 1,
        passed_over=tuple(passed_over),
        doubles=tuple(_doubles(found, own)),
    )


def _is_described(column: str, columns: Iterable[str]) -> bool:
    """Return whether a company has columns of its own: `Organisatie` beside `Organisatie plaats`."""
    name = fold(column)
    return sum(fold(other).startswith(name) for other in columns if other != column) > 1


_NAMES: Final = ("name", "naam", "navn", "namn", "nom", "nombre", "nome", "nazwa", "nimi")
_ATTENTION: Final = re.compile(
    "att(?:n|person|til)?|attentionperson|fortheattentionof|alattentionde|zhd|zuhaendenvon|tav"
)


_LEGAL: Final = frozenset(
    ("razonsocial", "razaosocial", "ragionesociale", "raisonsociale", "ragsoc", "denominazione", "denominacion")
)


def are_persons(columns: Iterable[str]) -> bool:
    """Return whether the records are persons: they have a column that only persons have."""
    return not _OF_PERSONS.isdisjoint(fold(unwrapped(column)) for column in columns)


def is_whole_name(column: str) -> bool:
    """Return whether a column contains the name of a person or a company, by its name alone."""
    return _ROLE_OF.get(_split(column)[0]) in ("full", "company") or _split(column)[0] in _PLAIN_NAMES


def is_plain_name(people: People) -> bool:
    """Return whether the only name beside that of a company is a word for any name, such as `Nombre`."""
    return people.is_plain and not people.first_last


def _is_plain(column: str, affixes: Affixes) -> bool:
    rest, owner = _split(affixes.within(column))
    return rest in _PLAIN_NAMES and all(_OWNERS[word] == 0 for word in owner)


def is_of_person(column: str, people: People) -> bool:
    """Return whether a name is that of the person whose first and last name are in other columns."""
    return bool(people.first_last) and all(_split(part)[1] == _split(column)[1] for part in people.first_last)


def name_rule(people: People, name: str | None) -> tuple[tuple[str, ...], ...]:
    """Return the alternatives of a customer's name, each a tuple of columns; empty if there is none. `name` is the
    column that is a customer's name by itself.
    """
    if name is not None and not people.first_last:
        return ((name,),)
    if not people.company and not people.first_last and (whole := people.display or people.full or people.contact):
        return ((whole,),)
    before = [name, people.display, people.company]
    is_other = (
        bool(people.contact and people.first_last)
        and not people.company
        and not _NAME_OF_CONTACT.search(fold(people.contact or ""))
    )
    if _is_customer_with_contact(people):
        return (*((column,) for column in before if column), people.person, (people.contact or "",))
    if people.is_short and people.contact:
        return (*((column,) for column in (*before, people.full) if column), people.person)
    if not people.company:
        # Without a company, a whole name is that of the customer: `ContactName` beside `FirstName` and `LastName`.
        before += [people.full] if is_other else [people.full, people.contact]
    alternatives = [(column,) for column in before if column]
    # `Contact Person` beside a first and a last name may be somebody else.
    contact = [(people.contact,)] if is_other and people.contact else []
    return (*alternatives, people.person, *contact) if people.person else tuple(alternatives)


def contact_rule(people: People) -> tuple[tuple[str, ...], ...]:
    """Return the alternatives of the name of the billing contact, where the customer has another name."""
    # `Ansprechpartner` beside a company, and a first and a last name, may be filled where these are blank; the name
    # within an object, such as `displaycontact.contactname`, is that of the object.
    has_contact = people.contact and people.company and not _split(people.contact)[1]
    contact = (people.contact,) if people.contact and has_contact else ()
    if _is_customer_with_contact(people):
        return ((people.contact or "",),)
    person = () if people.is_short and not people.contact else people.person
    return tuple(dict.fromkeys(filter(None, (people.billing, person, contact))))


def _is_customer_with_contact(people: People) -> bool:
    """Return whether `Name`, perhaps that of a company, stands beside a first name and a contact: `Ansprechpartner`
    is the person of `Vorname` and `Name`.
    """
    names = {_split(column)[0] for column in people.first_last}
    return bool(people.contact) and not people.company and not names.isdisjoint(_LAST_BESIDE_FIRST)


_NAME_OF_CONTACT: Final = re.compile("(?:full)?(?:name|nm)$")
_PARTS: Final[tuple[Role, ...]] = ("first", "middle", "last", "second_last")
_USUAL: Final = frozenset({"firstname", "lastname"})
"""Precede `Given Name`, which some systems fill only where a person is called otherwise."""


def _of_role(
    found: dict[Role, list[tuple[int, tuple[str, ...], str]]], group: tuple[int, tuple[str, ...]], role: Role
) -> list[str]:
    """Return the columns of one part of a person's name, the usual one first."""
    columns = [column for rank, owner, column in found.get(role, []) if (rank, owner) == group]
    return sorted(columns, key=lambda column: _split(column)[0] not in _USUAL)


def _doubles(
    found: dict[Role, list[tuple[int, tuple[str, ...], str]]], group: tuple[int, tuple[str, ...]] | None
) -> Iterable[str]:
    if group is not None:
        for role in _PARTS:
            yield from _of_role(found, group, role)[1:]


def _of_group(
    found: dict[Role, list[tuple[int, tuple[str, ...], str]]], group: tuple[int, tuple[str, ...]] | None
) -> tuple[str, ...]:
    if group is None:
        return ()
    found_parts = tuple(of_role[0] for role in _PARTS if (of_role := _of_role(found, group, role)))
    # In East Asian languages the family name comes first.
    is_eastern = bool(found_parts) and all(_EASTERN.search(part) for part in found_parts)
    return found_parts[::-1] if is_eastern else found_parts


_EASTERN: Final = re.compile("[぀-ヿ一-鿿가-힯]")


def _roles(columns: Sequence[str]) -> Iterable[tuple[str, Role, tuple[str, ...]]]:
    """Yield each column of a name with its role, and the words that show whose name it is."""
    within = shared_affixes(columns).within
    split = {column: _split(column) for column in columns}
    split |= {column: _split(within(column)) for column, read in split.items() if not read[0]}
    of_first = {owner for rest, owner in split.values() if rest in _FIRST_WORDS_OF_NAME or rest == _OF_FORENAMES}
    of_last = {owner for rest, owner in split.values() if _ROLE_OF.get(rest) == "last"}
    of_plain_last = {owner for rest, owner in split.values() if rest in _LAST_BESIDE_FIRST and owner in of_first}
    of_latin_last = {owner for rest, owner in split.values() if rest in _LAST_WORDS_OF_NAME}
    of_any_first = {owner for rest, owner in split.values() if _ROLE_OF.get(rest) == "first"} | of_first
    is_crm = not _JOB_TITLES.isdisjoint(map(fold, columns))
    given = {(role, owner) for rest, owner in split.values() if (role := _ROLE_OF.get(rest) or _BARE.get(rest))}
    with_first = {owner for rest, owner in split.values() if _ROLE_OF.get(rest) == "first" and rest not in _INITIALS}
    # Some systems use this name for the telephone number.
    has_phone = any(re.search("phone|mobil|telef|^tel|tlf|contactnumber", fold(column)) for column in columns)
    is_directory = "cn" in {fold(column) for column in columns}
    for column, (rest, owner) in split.items():
        role = _ROLE_OF.get(rest)
        has_last = owner in of_last or (rest == _OF_FORENAMES and owner in of_plain_last)
        if rest in _INITIALS and (owner in with_first or not has_last):
            continue
        if rest in _LAST_BESIDE_FIRST and owner in of_first and owner not in of_last:
            role = "last"
        elif rest in _NAMES_OF_CONTACTS and _OF_CONTACT in of_latin_last and _OF_CONTACT not in of_any_first:
            role, owner = "first", _OF_CONTACT  # `Nombre de contacto` beside `Apellidos de contacto`
        elif rest in _LAST_OF_CONTACT and of_first and not of_last and not of_plain_last:
            role, owner = "last", max(of_first)  # `Nom du contact` beside `Prénom` or `Prénom du contact`
        elif (rest in _FIRST_BESIDE_LAST and owner in of_latin_last and ("first", owner) not in given) or (
            rest == "name" and owner in of_last and owner not in of_any_first  # `Name` beside `Surname`
        ):
            role = "first"
        elif rest in _WORDS_FOR_ACCOUNTS:
            role = "company" if of_any_first & of_last and is_crm else None
        elif rest in _BARE and {("first", owner), ("last", owner)} <= given:
            role = _BARE[rest]
        elif rest in _CONTACTS:
            role = "contact" if has_phone else None
        elif is_directory:
            role = role or _OF_DIRECTORY.get(fold(column))
        if role == "full" and owner and _OWNERS[owner[0]] == 0 and not fold(unwrapped(column)).startswith(owner[0]):
            continue  # `Nom client`, without a first name, is a word for the customer's name
        if role:
            yield column, role, owner


_CONTACTS: Final = frozenset({"contact", "kontakt", "contacto", "contatto", "contato"})
_KNOWN: Final = frozenset(
    (*_ROLE_OF, *_LAST_BESIDE_FIRST, *_FIRST_BESIDE_LAST, *_BARE, *_CONTACTS, *_WORDS_FOR_ACCOUNTS)
)


_REFERENCE: Final = re.compile(r"(?i)(?P<of>.+?)(?:_id|id)?\.(?:name|value\.name)")
"""The name in a reference to another record: `Account_Name.name`, `org_id.name`."""


def _is_reference(column: str) -> bool:
    return len(column) <= LONGEST and _REFERENCE.fullmatch(unwrapped(column)) is not None


_REMARK: Final = re.compile(r"\s*\(([^)]*)\)\s*$")


@lru_cache(maxsize=1 << 16)
def _split(column: str) -> tuple[str, tuple[str, ...]]:
    """Return the folded name of a column and the words in front of it that show whose name it is."""
    if len(column) > LONGEST:
        return "", ()
    named = with_number_sign_in_words(of_first(unwrapped(column)))
    if (reference := _REFERENCE.fullmatch(named)) and _ROLE_OF.get((of := _split(reference["of"]))[0]) == "company":
        return of[0], (*of[1], "associated")  # after `org_name`, which is the same
    if remark := _REMARK.search(named):
        # `Nom (contact)` is that of the contact.
        owner = remark[1] if fold(remark[1]) in _OWNERS else ""
        named = f"{owner} {named[: remark.start()]}"
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", named)
    words = [fold(word) for word in re.split(r"[^\w]|_", spaced)]
    words = [word for word in words if word]
    # `Company Name` and `Contact Name` are names, not attributes of a company or a contact.
    for start in range(len(words)):
        rest = "".join(words[start:])
        if rest in _KNOWN:
            return rest, tuple(words[:start])
        if words[start] not in _OWNERS:
            break
    if owned := _with_owner_behind(words):
        return owned
    if (phrase := header_phrases.read(named)) and (found := _of_owner(phrase)):
        return found
    if len(named) <= _LONGEST_EITHER and (either := _EITHER.fullmatch(named)):
        return _last_or_company(either["one"], either["other"]) or ("", ())
    return "", ()


def _with_owner_behind(words: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """Return the name and its owner where the owner comes last: `Prénom du contact`, `Apellido de facturación`."""
    owner = words[-1] if words else ""
    is_contact = _CONTACTS_BEHIND.fullmatch(owner) is not None
    if len(words) < 2 or not (is_contact or owner in _OWNERS):
        return None
    bare = list(words[:-1])
    while len(bare) > 1 and _LINKS.fullmatch(bare[-1]):
        bare.pop()
    rest = "".join(bare)
    role = _ROLE_OF.get(rest)
    if role in ("first", "middle", "last", "second_last") or (role == "company" and owner in _BILLED):
        return rest, _OF_CONTACT if is_contact else (owner,)
    if rest in _PLAIN_NAMES:
        return rest, _OF_CONTACT if is_contact else (owner,)
    return None


_OF_CONTACT: Final = ("contact",)
_BILLED: Final = frozenset(_OWNER_WORDS[2].split())


def _of_owner(phrase: header_phrases.Phrase) -> tuple[str, tuple[str, ...]] | None:
    """Return the word for a part of a name and whose it is: `Apellido del cliente`, `Kontaktens fornavn`."""
    role = _ROLE_OF.get(phrase.rest)
    owners = tuple(owner for owner in phrase.roles if owner in ("customer", "contact", "primary"))
    if len(owners) < len(phrase.roles) - phrase.roles.count("your"):
        return None
    if role in ("first", "middle", "last", "second_last"):
        return phrase.rest, owners
    if "contact" in owners and (role == "full" or phrase.rest in _PLAIN_NAMES):
        return "contactname", ()
    return ("contactname", ()) if phrase.rest in _CONTACTS and owners == ("customer",) else None


def _last_or_company(one: str, other: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the word for a last or full name out of two, of which the other is one for a company: `Nom / Raison
    sociale`.
    """
    for (word, owner), (of_company, _) in ((_split(one), _split(other)), (_split(other), _split(one))):
        is_name = _ROLE_OF.get(word) in ("last", "full") or word in _LAST_BESIDE_FIRST
        if fold(one) in _HOLDERS and _ROLE_OF.get(of_company) == "company":
            return of_company, owner
        if is_name and _ROLE_OF.get(of_company) == "company":
            return word, owner
    return None


_HOLDING: Final = word_set(
    "payeur acheteur comprador pagador acquirente pagatore mittente remitente remetente expediteur intestatario "
    "titular titulaire titolare adherent membre socio abonne assinante aderente"
)
_HOLDERS: Final = word_set(
    "cliente client kunde kund klant customer mittente remitente remetente expediteur intestatario titulaire titular "
    "titolare contraente acquirente comprador contribuyente contribuinte tercero tiers"
)
"""Words for whoever has the name: `Mittente/Ragione sociale`."""
_LONGEST_EITHER: Final = 80
_EITHER: Final = re.compile(
    r"(?i)(?P<one>.+?)(?:\s*/\s*|\s+(?:or|ou|o|oder|of|eller|lub|tai|nebo|bzw\.?)\s+)(?P<other>[^/]+)"
)
_CONTACTS_BEHIND: Final = re.compile(
    "contact|contacto|contatto|contato|kontakt|kontaktperson|ansprechpartner|contactpersoon|interlocuteur|referente"
)
_LINKS: Final = re.compile("du|de|del|des|d|di|do|da|la|l|dell|della|van|von|der")
