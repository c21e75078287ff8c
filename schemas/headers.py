"""Column names → canonical fields: words and structure of the exports of billing, accounting, shop and CRM systems.

Names are compared folded: lower case, without accents on Latin letters, and only letters and digits kept, so that
`Customer ID`, `customer_id`, `customerId`, `CUSTOMER-ID` and `customer[id]` are equal. A name is a word of a field
(`City`, `Ort`), or a word with a role before or behind it (`Billing Address City`, `POAddressLine1`, `City (Billing)`),
or with a number (`Addr 1 - City`, `E-mail 1 - Value`). A suffix in brackets is left out only if it is a remark
(`Created (UTC)`): `Customer (VIP)` is not a name, and `customer_id (metadata)` is not an id.

Sources: export formats of about fifty systems, as documented by their vendors in 2026-11; words in German, French,
Spanish, Italian, Dutch, Portuguese, Swedish, Danish, Norwegian and Finnish are our own, with the commonest ones in
Polish and Czech.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from tranship.schemas.customer import ADDRESS, COLUMNS


def _word_set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Field → words, in levels separated by `|`: if several columns fit, one of an earlier level is used. Two words of one
# level with different meanings leave the choice to the user. The field's own name, and the words in _OWN_NAMES, precede
# the first level.
_WORDS: Final[dict[str, str]] = {
    "external_id": """
        externalid external_customer_id customer_id customerid customer_key customer_number customer_no
        customer_code client_id client_number client_code account_id account_number account_code account_no
        external_key external_reference customer_reference cust_id cust_no customer_external_id kundennummer
        kundennr kundenid kunden_nr debitorennummer debitorennr debitorenkonto numero_client numero_de_client
        no_client n_client code_client id_client identifiant_client reference_client numero_de_cliente
        numero_cliente no_cliente n_cliente id_cliente codigo_cliente codigo_de_cliente codice_cliente
        codigo_do_cliente klantnummer klantnr klant_id klantcode debiteurnummer kundnummer kundnr kund_id
        kundenummer kundenr kunde_id kundekode debitornummer debitornr asiakasnumero asiakasnro asiakas_id kundenkonto
        debitoren_nr debitor_nr code_tiers codigo_del_cliente numero_del_cliente numer_klienta nr_klienta kod_klienta
        id_klienta cislo_zakaznika
        | id uuid guid
        | record_id
        | contact_id person_id
        | card_id
        | square_customer_id
        | reference_id
        | subscriber_id internal_id
        | account_ref a_c
        | code codice codigo kode kod koodi debtor_no debtor_number debtor_code relatiecode relatienummer relatienr
        kartei_nr
        | nr no nummer number numero num numer nro
    """,
    "email": """
        primary_email customer_email contact_email user_email email_id e_mail_id e_post epost e_postadress
        epostadress e_postadresse epostadresse mailadresse email_adresse e_mail_adresse courriel adresse_email
        adresse_mail adresse_e_mail adresse_electronique adresse_courriel correo correo_electronico
        direccion_de_correo direccion_de_correo_electronico posta_elettronica indirizzo_email indirizzo_e_mail
        adres_e_mail adres_email e_mailadres emailadres endereco_de_email correio_eletronico sahkoposti
        sahkopostiosoite login_email
        | emails email_addresses e_mails work_email business_email company_email
        | personal_email home_email other_email
    """,
    # Beside others of a person, `person_names.py` decides between these.
    "name": """
        customer_name client_name account_name customer_full_name kundenname nom_du_client nom_client
        nombre_del_cliente nombre_cliente nome_cliente nome_do_cliente klantnaam kundnamn kundenavn asiakkaan_nimi
        nom_ou_raison_sociale raison_sociale_ou_nom nombre_o_razon_social nombre_razon_social
        nome_o_ragione_sociale nome_ragione_sociale nome_razao_social nome_ou_razao_social
        denominazione_ragione_sociale denominazione_o_ragione_sociale nazwa_klienta
        | display_name full_name namn navn naam nimi
        | company company_name organization organisation organization_name organisation_name business_name firma
        firmenname unternehmen unternehmensname entreprise nom_entreprise nom_de_l_entreprise societe
        nom_de_la_societe raison_sociale empresa nombre_empresa nombre_de_la_empresa razon_social azienda
        nome_azienda ragione_sociale denominazione bedrijf bedrijfsnaam nome_da_empresa razao_social foretag
        foretagsnamn
        virksomhed virksomhedsnavn firmanavn bedrift bedriftsnavn yritys yrityksen_nimi associated_company nazwa_firmy
        | customer client kunde klant kund asiakas cliente klient zakaznik
        | contact_name nom nombre nome
    """,
    "legal_name": """
        legal_company_name legal_entity legal_entity_name registered_name company_legal_name legal_business_name
        denomination_sociale nombre_legal denominacion_social denominazione_sociale statutaire_naam juridisk_namn
    """,
    "customer_type": """
        client_type account_type type_of_customer customer_kind kundentyp kundenart type_de_client type_client
        tipo_de_cliente tipo_cliente tipo_di_cliente tipo_do_cliente klanttype kundtyp kundetype asiakastyyppi
        typ_klienta
        | company_type customer_sub_type contact_type partner_type person_type type_of_person type_de_personne
        tipo_de_pessoa tipo_pessoa tipo_de_persona tipo_persona tipo_di_persona
    """,
    "phone": """
        primary_phone contact_phone main_phone phone_numbers telefon telefonnummer telefonnr rufnummer
        numero_de_telephone telefono numero_de_telefono numero_di_telefono telefoon telefoonnummer telefone fone tlf
        tlfnr tlf_nr puhelin puhelinnumero
        | mobile mobile_phone mobile_number mobile_no cell cell_phone cellphone handy handynummer mobil mobilnummer
        mobiltelefon portable telephone_portable mobile_phone_number movil telefono_movil celular cellulare mobiel
        gsm telemovel mobiltlf matkapuhelin telefon_komórkowy komórka mobilni_telefon
        | work_phone business_phone company_phone office_phone
        | home_phone other_phone
    """,
    "address_line1": """
        street_1 street_address_1 street_line_1 addressline_1 street_address_line_1 strasse_1 adresse_1
        adresse_ligne_1 direccion_1 indirizzo_1 adres_1 endereco_1 adress_1 adressrad_1
        | street street_address street_name strasse strasse_und_hausnummer strasse_nr rue calle via straat rua gata
        gatuadress gade vej gate gateadresse katuosoite road_name logradouro ulica ulice
        | address adresse anschrift postanschrift adresse_postale direccion domicilio indirizzo adres endereco
        morada adress postadress postadresse osoite full_address adresa
    """,
    "address_line2": """
        street_2 street_address_2 street_line_2 addressline_2 street_address_line_2 adresse_2 adresse_ligne_2
        direccion_2 indirizzo_2 adres_2 endereco_2 adress_2 adressrad_2 indirizzo_extra
        | suite extended_address adresszusatz complement_d_adresse complement_adresse complemento address_complement
        toevoeging
    """,
    "city": """
        town city_town town_city locality suburb_city city_name ort stadt wohnort ville localite ciudad localidad
        poblacion municipio citta comune plaats woonplaats gemeente cidade localidade stad postort by poststed kaupunki
        postitoimipaikka miasto miejscowosc mesto sted
        | village commune
    """,
    "state": """
        province region county state_name province_name region_name state_province_region province_region
        province_state bundesland departement provincia regione provincie fylke landskap maakunta uf estado
        wojewodztwo województwo
        | state_code province_code region_code state_id state_province_code
    """,
    "zip_code": """
        plz postleitzahl code_postal cp codigo_postal cap codice_postale cep postnummer postnr postinumero postal
        pincode pin_code zip_postcode postal_zip_code kod_pocztowy psc
    """,
    "country": """
        country_name country_region land pays pais paese nazione maa kraj zeme
        | country_code country_id country_iso country_iso_code country_code_2 country_iso2 country_code_iso
        land_code landcode laenderkuerzel landerkurzel code_pays codigo_pais
    """,
    "currency": """
        currency_code default_currency billing_currency preferred_currency_code preferred_currency currency_iso_code
        currency_iso customer_currency account_currency base_currency waehrung wahrung devise monnaie moneda divisa
        valuta moeda valuutta waluta mena
    """,
    "timezone": """
        time_zone zeitzone fuseau_horaire zona_horaria huso_horario fuso_orario tijdzone fuso_horario tidszon
        tidszone
    """,
    "language": """
        locale language_code preferred_language preferred_locale sprache langue jezyk język jazyk idioma lingua taal
        sprak sprog kieli
        preferred_language_code communication_language language_override
    """,
    "status": """
        customer_status account_status lifecycle_status account_state kundenstatus statut statut_du_client
        client_status contact_status estado_del_cliente stato_cliente klantstatus kundstatus
        | subscription_status subscription_state
        | situacao situacion situacao_do_cliente situacao_cliente
    """,
    "net_terms": """
        net_payment_terms net_payment_term net_term net_term_days net_days terms_days payment_terms_days
        payment_term_days term_days payment_due_days due_days due_in_days days_until_due days_to_pay payment_days
        credit_days zahlungsziel zahlungsfrist faelligkeit_in_tagen falligkeit_in_tagen faellig_in_tagen
        fallig_in_tagen faelligkeitstage falligkeitstage zahlungstage jours_de_paiement echeance_en_jours
        dias_de_pago dias_de_credito dias_credito plazo_en_dias vencimiento_en_dias giorni_di_pagamento
        giorni_pagamento scadenza_in_giorni betaaldagen vervaldagen prazo_em_dias dias_para_pagamento
        kreditdagar forfallsdager kredittdager kreditdage maksuaika
        | payment_terms payment_term terms payment_term_id customer_terms zahlungsbedingungen zahlungsbedingung
        zahlungskonditionen zahlungskondition zahlungsbed payment_conditions payment_condition
        conditions_de_reglement conditions_reglement condition_de_reglement delai_de_reglement delai_reglement
        delai_paiement conditions_paiement condition_de_paiement terminos_de_pago plazo_pago condiciones_pago
        condicion_de_pago termini_pagamento condizioni_pagamento condizione_di_pagamento betalingsconditie
        betalingscondities betaalconditie betaalcondities betalingsvoorwaarde betalingsvoorwaarden
        prazo_pagamento condicao_de_pagamento condicao_pagamento condicoes_pagamento termos_de_pagamento
        betalvillkor betalingsbetingelse betalingsbet betalingsvilkar betalingsvilkår
        maksuehdot termin_płatności termin_platnosci warunki_płatności warunki_platnosci splatnost
        delai_de_paiement conditions_de_paiement plazo_de_pago condiciones_de_pago termini_di_pagamento
        condizioni_di_pagamento betalingstermijn betaaltermijn prazo_de_pagamento condicoes_de_pagamento
        betalningsvillkor betalingsbetingelser betalingsfrist maksuehto
        | payment_terms_label trading_terms trading_terms_text
    """,
    "created_at": """
        created created_date date_created creation_date created_on created_time created_utc create_date create_time
        creation_time date_of_creation erstellt erstellt_am angelegt angelegt_am anlage_am erstelldatum erstellungsdatum
        anlagedatum date_de_creation date_creation cree_le cree fecha_de_creacion fecha_creacion creado creado_el
        fecha_de_alta fecha_alta data_di_creazione data_creazione creato_il aangemaakt aangemaakt_op aanmaakdatum
        data_de_criacao data_criacao criado_em toegevoegd_op ajoute_le date_d_ajout anadido_el inserito_il skapad
        skapad_datum skapat oprettet oprettet_dato opprettet luotu data_de_cadastro data_cadastro utworzono
        data_utworzenia vytvoreno
        | signup_date signed_up signed_up_on signed_up_at sign_up_date signup_at registered_at registered_on
        date_registered registration_date user_registered date_added added_time added_on added_at date_joined joined_at
        join_date
        kunde_seit client_depuis cliente_desde cliente_dal klant_sinds kund_sedan registriert_am date_d_inscription
        inscription inscrit_le
        opened account_opened opened_on date_opened account_opened_on eroeffnet_am eroffnet_am
        | customer_since
    """,
    "updated_at": """
        updated updated_date date_updated last_updated updated_on last_updated_at updated_utc update_date
        last_update last_updated_on updated_time update_time last_updated_date date_last_updated write_date aktualisiert
        aktualisiert_am mis_a_jour mis_a_jour_le actualizado actualizado_el aggiornato bijgewerkt atualizado_em
        uppdaterad opdateret oppdatert paivitetty zaktualizowano data_aktualizacji
        | modified modified_at last_modified last_modified_date modified_date last_modified_at last_modified_time
        modified_time date_modified modified_on last_changed last_changed_at changed_at geaendert geandert
        geaendert_am geandert_am letzte_aenderung letzte_anderung laatst_gewijzigd laatst_gewijzigd_op
        date_de_modification date_modification modifie_le
        fecha_de_modificacion fecha_modificacion data_di_modifica data_modifica modificato_il gewijzigd gewijzigd_op
        data_de_modificacao data_modificacao data_de_alteracao alterado_em andrad senast_andrad aendret sist_endret
        muokattu
        | system_modstamp
    """,
    "trial_started": """
        trial_start trial_started_at trial_start_date trial_began trial_start_at trial_starts_at trial_started_on
    """,
    "paid_started": """
        paid_start paid_started_at paid_start_date paid_since first_paid_at first_payment_date first_payment_at
        paying_since
        | activated_at
    """,
    "cancel_date": """
        cancelled_at canceled_at cancellation_date cancel_at cancelled_on canceled_on churned_at date_cancelled
        date_canceled cancelled_date canceled_date churn_date gekuendigt_am gekundigt_am kuendigungsdatum
        kundigungsdatum date_de_resiliation fecha_de_baja fecha_baja data_di_disdetta opgezegd_op uppsagd_datum
        opsagt_dato
        | closed_at closed_date closed_on terminated_at
    """,
    "tax_id": """
        vat_id vat_number vat_no vat_nr vat_registration_number tax_vat_number ust_id ust_idnr ust_id_nr ustid
        umsatzsteuer_id umsatzsteuer_identifikationsnummer numero_tva numero_de_tva n_tva no_tva
        tva_intracommunautaire partita_iva p_iva piva btw_nummer btw_nr momsnummer momsregistreringsnummer
        momsreg_nr vat_nummer alv_numero alv_nro numero_de_iva mva_nr mva_nummer vat_id_no
        ust_id_nummer tax_id_value
        | vat taxvat tax_number tax_no tax_identification_number tax_id_number tax_registration_number taxpayer_id
        tax_registration_no abn nzbn gstin gst_number gst_no ein nif cif nif_cif cif_nif nipc cnpj cpf cpf_cnpj
        cnpj_cpf rfc rut ruc cuit nit cvr
        cvr_nummer cvr_nr nip dic y_tunnus codice_fiscale steuer_id steuernummer
    """,
    "billing_contact_name": """
        billing_contact billing_name invoice_contact billing_contact_full_name billing_attention bill_to_contact
        rechnungskontakt
    """,
    "billing_contact_email": """
        billing_email invoice_email billing_contact_e_mail billing_e_mail accounts_payable_email
        billing_email_address invoice_email_address bill_to_email bill_to_work_email bill_to_contact_work_email
        ap_email accounting_email rechnungs_email rechnungs_e_mail rechnungsmail email_facturation
        e_mail_de_facturation email_de_facturacion email_fatturazione factuur_email factuur_e_mail
        email_de_faturacao faktura_e_post faktura_email fakturamail
    """,
    "invoice_cc_emails": """
        cc_emails invoice_cc cc_email additional_emails additional_invoice_emails cc_email_addresses email_cc
        additional_email_addresses invoice_cc_addresses
    """,
    "aliases": "alias ingest_aliases other_ids",
    "metadata": "meta_data custom_fields custom_data attributes custom_attributes additional_data",
    "provider": "billing_provider source_provider",
    "provider_id": "billing_provider_id provider_customer_id",
}

# Synonyms with exactly the meaning of the field's own name. Two columns of one group are rivals: `Email` and
# `E-mail Address` mean the same, `Phone` and `Mobile` do not.
_OWN_NAMES: Final[dict[str, str]] = {
    "name": "nazwa nazev",
    "email": "email_address e_mail_address mail",
    "phone": "phone_number telephone telephone_number tel phone_no",
    "address_line1": "address1 address_1 line1",
    "address_line2": "address2 address_2 line2",
    "state": "state_province state_region state_or_province",
    "zip_code": "zip postal_code zip_postal_code postcode post_code zip_or_postal_code",
    "timezone": "tz",
    "language": "lang",
    "net_terms": "net_terms_days",
    "invoice_cc_emails": "invoice_cc_email",
}

# Roles of an address, the one to prefer first. An address is taken from columns of one role.
_ADDRESS_ROLES: Final = """
    customer client account contact person property properties fields user kunden
    | billing bill_to bill_to_contact bill invoice invoicing rechnungs rechnung facturation facturacion fatturazione
      factuur facturatie faturamento faturacao cobranca faktura fakturerings fakturacyjny laskutus
    | default primary main mailing postal po post posti korrespondenz postale correspondance correspondencia
      corrispondenza correspondentie
    | business company organization organisation work office legal registered head_office forretnings firmen
      geschafts visiting visit besoks besøks besogs besøgs bezoek kaynti fiscal social
    | home personal private
    | shipping ship_to ship delivery sold_to sold_to_contact sa liefer livraison envio spedizione consegna verzend
      aflever bezorg entrega leverans leverings toimitus
    | other alternate alternative secondary
"""

_BEFORE_NOUNS: Final = _word_set("post posti visit social")
"""Roles only in front of a noun: `Postadresse - Land`. A `Visit Country` is not that of an address."""

# What may come between a role and a word: `billing_address.city`, `Addr 1 - City`, `Default Address City`.
_ADDRESS_NOUNS: Final = (
    "addresses",
    "address",
    "addr",
    "adresse",
    "anschrift",
    "direccion",
    "indirizzo",
    "endereco",
    "morada",
    "adres",
    "adress",
    "osoite",
)

# Words that mean this only beside one of these columns: `By` is a city in a Danish table, `Via` a street in an Italian.
_COMPANIONS: Final = {
    "by": "postnr postnummer",
    "sted": "postnr postnummer",
    "commune": "codepostal cp adresse rue",
    "kraj": "miasto miejscowosc kodpocztowy ulica",
    "mesto": "psc ulice",
    "uf": "cidade municipio cep endereco",
    "cap": "citta comune indirizzo via provincia localita",
    "cp": "ville localite ciudad localidad poblacion adresse direccion",
    "gate": "postnr postnummer poststed",
    "via": "cap citta comune",
}

# Bare words for a number or a code. They are an id only beside the name (elsewhere, `Code` may be that of a discount)
# and in front of the address (in which they are a house number or a postal code). A list typed by people has line
# numbers: `No.` is an id only where there are columns that an accounting system writes, too.
_BARE_CODES: Final = _word_set("code codice codigo kode kod koodi")
_BARE_NUMBERS: Final = _word_set("nr no nummer number numero num numer nro")
_OF_BOOKS: Final = frozenset({"tax_id", "net_terms"})

CUSTOMERS: Final = _word_set("customer client kunde klant kund asiakas cliente klient zakaznik")
"""Folded words for a customer: a column called so holds its name, or says whether a third party is one."""

# Roles of other fields, and the fields that keep their meaning with them.
_ENTITY_ROLES: Final = (
    "customer client account contact person property properties fields user primary default main billing business "
    "company organization organisation bill_to work"
)
_ENTITY_FIELDS: Final = _word_set("""
    email phone currency timezone language net_terms created_at updated_at cancel_date tax_id legal_name
    invoice_cc_emails trial_started paid_started
""")
# These tell of the record itself; the status of a user is that of a log-in, the one of a company a stage of a sale.
_RECORD_ROLES: Final = "customer client account properties fields"
_RECORD_FIELDS: Final = frozenset({"status", "customer_type", "name"})

# What is said in brackets about a value and changes nothing.
_REMARK: Final = re.compile(
    r"(?i)\s*(?:utc|gmt|utc[+-]\d.*|gmt[+-]\d.*|local time|iso|iso[ -]?(?:8601|3166|4217).*|iso code|iso-?2|e\.?164|"
    r"days?|in days|(?:in )?tagen?|(?:en )?jours|(?:en )?d[ií]as|(?:in )?giorni|(?:in )?dagen|em dias|dagar|dager|dage|"
    r"debitor(?:en)?|debtors?|kunden?|customers?|clients?|clientes?|klant(?:en)?|"
    r"required|optional|mandatory|pflichtfeld|obligatoire|primary|default|main|text|string|"
    r"[dmyhs]{1,4}(?:[-/.: ][dmyhs]{1,4})+|[a-z_]+/[a-z_]+)\s*"
)


# Objects that APIs and databases wrap around the fields of a record, and around a value: JSON:API, HubSpot, Airtable,
# GraphQL, Elasticsearch; MongoDB's Extended JSON.
_WRAPPED: Final = re.compile(r"(?:attributes|properties|fields|node|_source|record|item|object)\.(?=.)")
_TYPED: Final = re.compile(r"(?<=.)\.\$(?:oid|date|uuid|numberInt|numberLong|numberDouble|numberDecimal)$")


def unwrapped(column: str) -> str:
    """Return the name of a column of a nested record without the objects wrapped around it: `attributes.name` and
    `name` are one field.
    """
    return _TYPED.sub("", _WRAPPED.sub("", column, count=1) if _WRAPPED.match(column) else column)


_REMEMBERED: Final = 1 << 16
"""The names whose reading is remembered: those of a wide table are asked for again and again."""


@lru_cache(maxsize=_REMEMBERED)
def fold(column: str) -> str:
    """Return the form in which names are compared: lower-case letters and digits only."""
    plain = unicodedata.normalize("NFKD", column).casefold()
    return "".join(c for c in plain if c.isalnum())


class _Word(NamedTuple):
    field: str
    group: str
    """Words of one group have the same meaning."""
    level: int


def _words() -> dict[str, _Word]:
    found: dict[str, _Word] = {}
    for field, levels in _WORDS.items():
        for level, words in enumerate(levels.split("|"), 1):
            found |= {fold(word): _Word(field, fold(word), level) for word in words.split()}
    for word in [word for word in found if word.endswith(("number", "nummer"))]:
        field, group, level = found[word]
        for short in (word[:-6] + ending for ending in ("no", "nr", "num")):  # `VAT Registration No.`, `Kundennr.`
            found.setdefault(short, _Word(field, short if level else group, level))
    # `Rue 2` and `2. Adresse` are the second line of an address.
    for street in [word for word, meant in found.items() if meant.field == "address_line1" and word.isalpha()]:
        for number, field in (("1", "address_line1"), ("2", "address_line2")):
            found |= {word: _Word(field, street, 1) for word in (street + number, number + street) if word not in found}
    for field in COLUMNS:
        own = (field, *_OWN_NAMES.get(field, "").split())
        found |= {fold(word): _Word(field, fold(field), 0) for word in own}
    return found


_WORD_OF: Final[dict[str, _Word]] = _words()
_ROLE_RANK: Final[dict[str, int]] = {
    fold(role): rank for rank, roles in enumerate(_ADDRESS_ROLES.split("|"), 1) for role in roles.split()
}
_ENTITIES: Final = frozenset(map(fold, _ENTITY_ROLES.split()))
_RECORDS: Final = frozenset(map(fold, _RECORD_ROLES.split()))
_COMPANY: Final = frozenset({"company", "companyname", "organization", "organisation"})
_NOUNS: Final = sorted(map(fold, _ADDRESS_NOUNS), key=len, reverse=True)


class _Hit(NamedTuple):
    """What the name of a column means; `rank` compares the columns that fit one field, smaller is better."""

    field: str
    group: str
    rank: tuple[int, ...]
    role: str
    """The address it belongs to: its role and number, empty for the only one."""


@lru_cache(maxsize=_REMEMBERED)
def _read(name: str) -> _Hit | None:
    """Return what a name means, null if nothing."""
    name = name.strip()
    if (inner := unwrapped(name)) != name:
        hit = _read(inner)
        # A field of the record itself precedes a wrapped one.
        return hit._replace(rank=(hit.rank[0] + 1, *hit.rank[1:])) if hit else None
    role = ""
    if brackets := re.search(r"\s*[(]([^()]*)[)]\s*$", name):
        bare = name[: brackets.start()]
        if fold(name) in _WORD_OF or _REMARK.fullmatch(brackets[1]):
            pass
        elif fold(brackets[1]) in _ROLE_RANK:
            role = fold(brackets[1])
        else:
            return None
        if fold(name) not in _WORD_OF and fold(bare):
            name = bare
    if hit := _read_folded(role + fold(name)):
        return hit
    return _read_of_address(name, role) or _read_numbered(name, role) or _read_either(name, role)


_OF_ADDRESS: Final = re.compile(
    r"(?i)(?P<word>.+?)\s+(?:of|der|de la|de l.|dell.|do|van het|av)\s*(?P<role>(?:\w+\s+)?)"
    rf"(?:{'|'.join(_ADDRESS_NOUNS)})"
)
_BEHIND: Final = re.compile(r"(?P<word>.*[^\W\d].*?)[\s._#-]+(?P<number>[1-9])")
_EITHER_FIELDS: Final = frozenset({*ADDRESS, "phone", "email", "tax_id"})


def _read_of_address(name: str, role: str) -> _Hit | None:
    """Read `ZIP/Postal code of Postal address`."""
    matched = _OF_ADDRESS.fullmatch(name)
    if matched is None:
        return None
    # The owner stays in front: `Organization - Country of Address`.
    hit = _read(matched["word"])
    of_role = fold(matched["role"])
    if hit is None or hit.field not in ADDRESS or (of_role and of_role not in _ROLE_RANK):
        return None
    rank = max(hit.rank[0], _ROLE_RANK.get(of_role, 0), _ROLE_RANK.get(role, 0))
    return hit._replace(rank=(rank, *hit.rank[1:]), role=role or of_role or hit.role)


def _read_numbered(name: str, role: str) -> _Hit | None:
    """Read `Address City - 2` and `Telefon 1`. The first is the same as one without a number."""
    matched = _BEHIND.fullmatch(name)
    hit = matched and _read_folded(role + fold(matched["word"]))
    if not matched or not hit or hit.field not in (*ADDRESS, "phone", "email"):
        return None
    number = int(matched["number"])
    if number == 1:
        return hit
    of_address = f"{hit.role}{number}" if hit.field in ADDRESS else ""
    return hit._replace(rank=(hit.rank[0], hit.rank[1] + number, *hit.rank[2:]), role=of_address)


def _read_either(name: str, role: str) -> _Hit | None:
    """Read `CNPJ / CPF` and `City/town/village`: words that all mean the same field."""
    words = re.split(r"\s*/\s*", name)
    if len(words) < 2 or not all(map(fold, words)):
        return None
    first = _read_folded(role + fold(words[0]))
    if first is None or first.field not in _EITHER_FIELDS:
        return None
    others = [_WORD_OF.get(fold(word)) for word in words[1:]]
    return first if all(word is not None and word.field == first.field for word in others) else None


def _read_folded(folded: str) -> _Hit | None:
    if word := _WORD_OF.get(folded):
        return _Hit(word.field, word.group, (0, 0, word.level), "")
    if in_days := _IN_DAYS.fullmatch(folded):
        word = _WORD_OF.get(in_days["terms"])
        if word and word.field == "net_terms":  # precedes those that may be a key or a text
            return _Hit(word.field, word.group, (0, 0, min(word.level, 1)), "")
    if coded := re.fullmatch("(billing|shipping|mailing|other)code", folded):  # Zoho's postal code
        return _Hit("zip_code", "code", (_ROLE_RANK[coded[1]], 0, 9), coded[1])
    if numbered := _NUMBERED.fullmatch(folded):
        kind, number = numbered["kind"], int(numbered["number"])
        return _Hit(kind, kind, (0, number + 1, 0), "")
    if suffixed := _SUFFIXED.fullmatch(folded):
        return _Hit(suffixed["kind"], suffixed["kind"], (_ROLE_RANK.get(suffixed["role"], 9), 0, 0), "")
    rest, roles = folded, []
    while role := _role_of(rest):
        roles.append(role)
        rest = rest.removeprefix(role)
        if (suffixed := _SUFFIXED.fullmatch(rest)) and _ROLE_RANK[role] == 1:  # `Person - Email - Work`
            return _Hit(suffixed["kind"], suffixed["kind"], (_ROLE_RANK.get(suffixed["role"], 9), 0, 0), "")
        if (word := _WORD_OF.get(rest)) and role not in _BEFORE_NOUNS and _keeps_meaning(word, roles):
            rank = max(_ROLE_RANK.get(role, 1) for role in roles)
            return _Hit(word.field, word.group, (rank, 0, word.level), roles[-1] if word.field in ADDRESS else "")
    address = _ADDRESS.match(rest)
    if address is None:
        return None
    number = int(address["number"] or 0)
    inner = rest[address.end() :]
    if (behind := _ROLE_BEHIND.match(inner)) and inner not in _WORD_OF:  # `Adresse de facturation - Ville`
        roles.append(behind["role"])
        inner = inner[behind.end() :] or address[0]
    if line := _LINE.fullmatch(inner):
        inner = f"line{line['number']}"
    if nested := _NUMBERED.fullmatch(inner):
        return _Hit(nested["kind"], nested["kind"], (1, number, int(nested["number"])), "")
    word = _WORD_OF.get(inner)
    if word is None or not (word.field in ADDRESS or word.field in ("phone", "email") or word.group in _COMPANY):
        return None
    rank = max([_ROLE_RANK.get(role, 1) for role in roles], default=0)
    of_address = f"{roles[-1] if roles else ''}{number or ''}" if word.field in ADDRESS else ""
    return _Hit(word.field, word.group, (rank, number, word.level), of_address)


_NUMBERED: Final = re.compile(
    r"(?P<kind>email|phone)(?:s|number|numbers|address|addresses)?(?P<number>[0-9])(?:value|address|number|email|)"
)
_SUFFIXED: Final = re.compile(r"(?P<kind>email|phone)(?P<role>work|business|office|home|personal|private|other|mobile)")
_ADDRESS: Final = re.compile(rf"(?:{'|'.join(_NOUNS)})(?P<number>[0-9]?)")
_ROLE_BEHIND: Final = re.compile(
    rf"(?:de|di|da|do|of|del|della|du)?(?P<role>{'|'.join(sorted(_ROLE_RANK, key=len, reverse=True))})"
)
_LINE: Final = re.compile(
    rf"(?:{'|'.join(_NOUNS)})?(?:line|linje|ligne|zeile|linea|riga|regel|linha|rad|rivi|radek|wiersz)(?P<number>[12])"
)
_IN_DAYS: Final = re.compile(
    r"(?P<terms>.+?)(?:in|en|em|i|w)?(?:days|tagen?|jours|dias|giorni|dagen|dagar|dager|dage|paivaa|dniach|dni|dny)"
)


def _role_of(folded: str) -> str | None:
    """Return the longest role at the beginning."""
    return max((role for role in _ROLE_RANK if folded.startswith(role) and folded != role), key=len, default=None)


def _keeps_meaning(word: _Word, roles: Sequence[str]) -> bool:
    """Return whether a word means the same field with these roles before it: the city of a delivery is a city, the id
    of a company is not the id of the customer.
    """
    if word.field in ADDRESS or word.field == "phone":
        return True
    if word.field in _ENTITY_FIELDS:
        return all(role in _ENTITIES for role in roles)
    is_company = word.group in _COMPANY and _ROLE_RANK[roles[-1]] <= _ROLE_RANK["default"]
    return is_company or (word.field in _RECORD_FIELDS and roles[0] in _RECORDS and len(roles) == 1)


@dataclass(frozen=True)
class Fit:
    """The columns that match one field, in the order of the source.

    `column` is the one used, null if the user must choose. `rivals` have the same name in another spelling: if their
    values differ, the choice is ambiguous. `others` are synonyms with another meaning, such as `id` next to
    `external_id`. Columns of a further address, number or role (`Shipping City` beside `Billing City`, `Phone 2`) are
    in none of them.
    """

    column: str | None
    rivals: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return (*([self.column] if self.column else []), *self.rivals, *self.others)


def is_own_name(column: str, field: str) -> bool:
    """Return whether a column is called as the field itself, or by a word of exactly this meaning."""
    word = _WORD_OF.get(fold(column))
    return word is not None and word.field == field and word.group == fold(field)


def match(columns: Sequence[str], repeats: Mapping[str, str], without: Collection[str] = ()) -> dict[str, Fit]:
    """Return field → matching columns, except the columns in `without`.

    `repeats` are columns whose name occurs more than once in the header: generated name → repeated name. The field's
    own name takes precedence over synonyms with another meaning, an earlier level of synonyms over a later one, and a
    billing address over others; two meanings of one level require a choice by the user.
    """
    hits = _hits(tuple(columns), tuple(repeats.items()))
    address = _best_address(hits.values())
    is_place = any(hit.role == address and hit.field in _PLACE for hit in hits.values())
    by_field: dict[str, dict[str, _Hit]] = {}
    for column, hit in hits.items():
        if column not in without and (hit.field not in ADDRESS or hit.role in (address, "") or not is_place):
            by_field.setdefault(hit.field, {})[column] = hit
    for field in ADDRESS:
        found = by_field.get(field, {})
        if not is_place or any(hit.role == address for hit in found.values()):
            continue
        # The street of one address and the city of another are no address; a country alone is that of the customer.
        if field != "country":
            by_field.pop(field, None)
    return {field: _fit(field, by_field[field], address) for field in COLUMNS if field in by_field}


@lru_cache(maxsize=4)
def _hits(columns: tuple[str, ...], repeats: tuple[tuple[str, str], ...]) -> Mapping[str, _Hit]:
    """Return column → what its name means, for the columns that mean something."""
    folded = {fold(column) for column in columns}
    own_names = dict(repeats)
    named = ((column, _read(own_names.get(column, column))) for column in columns)
    hits = {column: hit for column, hit in named if hit and not is_secret(column) and _is_meant(column, hit, folded)}
    return {column: hit for column, hit in hits.items() if _is_placed(column, hit, columns, hits)}


def _is_meant(column: str, hit: _Hit, folded: Collection[str]) -> bool:
    """Return whether the other columns allow this meaning."""
    if hit.group == "cardid":  # the card of a contact (MYOB), unless there is a payment card
        return not any(_PAYMENT_CARD.fullmatch(name) for name in folded)
    if hit.group == "code" and hit.field == "zip_code":
        return any(f"{hit.role}{word}" in folded for word in ("city", "street", "state"))
    companions = _COMPANIONS.get(hit.group)
    if companions is None or any(noun in fold(column) for noun in _NOUNS):  # `Postadresse - sted`
        return True
    return any(name in folded for name in companions.split())


def _is_placed(column: str, hit: _Hit, columns: Sequence[str], hits: Mapping[str, _Hit]) -> bool:
    """Return whether a word that has several meanings has this one among these columns and beside its neighbours."""
    is_estado = hit.group == "estado"
    codes, numbers = hit.group in _BARE_CODES, hit.group in _BARE_NUMBERS
    if not (is_estado or ((codes or numbers) and hit.field == "external_id")):
        return True
    at = columns.index(column)
    fields = [hits[name].field if name in hits else "" for name in columns]
    beside = {*fields[max(at - 1, 0) : at], *fields[at + 1 : at + 2]}
    if is_estado:  # `Estado` is the status in Spanish tables that have a `Provincia`
        return not beside.isdisjoint(ADDRESS) and fields.count("state") == 1
    is_id = "name" in beside and beside.isdisjoint(ADDRESS) and not {*fields[:at]}.intersection(ADDRESS)
    return is_id and (codes or not _OF_BOOKS.isdisjoint(fields))


_PAYMENT_CARD: Final = re.compile(r"card(?:last4|brand|exp.*|funding|type|number|fingerprint)")


_PLACE: Final = ("address_line1", "city", "zip_code")


def _best_address(hits: Iterable[_Hit]) -> str:
    """Return the role of the address to use: those with a street, city or postal code first, then by rank."""
    places: dict[str, list[_Hit]] = {}
    for hit in hits:
        if hit.field in ADDRESS:
            places.setdefault(hit.role, []).append(hit)

    def order(role: str) -> tuple[bool, tuple[int, ...]]:
        is_place = any(hit.field in _PLACE for hit in places[role])
        return not is_place, min(hit.rank for hit in places[role])[:2]

    return min(places, key=order, default="")


def _fit(field: str, hits: Mapping[str, _Hit], address: str) -> Fit:
    of_address = {column: hit for column, hit in hits.items() if hit.role == address} if field in ADDRESS else hits
    best = min(hit.rank for hit in (of_address or hits).values())
    groups: dict[str, list[str]] = {}
    for column, hit in hits.items():
        if hit.rank == best:
            groups.setdefault(hit.group, []).append(column)
    own = next(iter(groups)) if len(groups) == 1 else None
    # A further number or role is neither a rival nor another meaning.
    others = tuple(
        column
        for column, hit in hits.items()
        if (field in ADDRESS or hit.rank[:2] in (best[:2], (0, 0))) and (hit.rank != best or hit.group != own)
    )
    if own is None:
        return Fit(None, (), others)
    # The field's own name first, regardless of the order.
    used, *rivals = sorted(groups[own], key=lambda column: fold(column) != fold(field))
    return Fit(used, tuple(rivals), others)


# Secrets ---------------------------------------------------------------------------------------------------------

_SECRET: Final = re.compile(
    r".*(?:password|passwd|passwort|motdepasse|contrasena|wachtwoord|losenord|apikey|secretkey|clientsecret|privatekey)"
    r"(?:hash|digest|salt|encrypted)?|(?:user|customer|login|account)?(?:pass|pwd|pw|pin|secret|salt)(?:hash|word)?|"
    r"(?:encrypted|hashed)(?:pass|password)|.*(?:access|refresh|auth|api|rp|reset|session|login|remember|bearer|payment|card)?token|"
    r".*(?:socialsecurity(?:number|no)?|nationalinsurancenumber|sozialversicherungsnummer|passportnumber|passportno)|"
    r".*(?:national|swedish|danish|citizen)id(?:number|no|code)?|.*(?:identity|nationalidentification)(?:number|no)|"
    r".*(?:personnummer|cprnummer|burgerservicenummer|pesel|nationalinsuranceno|henkilotunnus)|"
    r"(?:.*customer|.*tax|.*personal)?(?:ssn|bsn)(?:number|last4)?|"
    r"(?:.*card|.*creditcard|cc)(?:number|no|num|pan|cvv|cvc|securitycode)|creditcard|cvv|cvc|"
    r".*iban(?:nr|no|number|nummer)?[0-9]{0,2}|(?:.*bank|.*checking)account(?:number|no)|(?:bank)?routingnumber|"
    r"sortcode|banksortcode|kontonummer|bankkonto(?:nummer|nr)?[0-9]{0,2}|"
    r"(?:bank)?rekeningnummer|bankrekening(?:nummer)?|n(?:ume)?r?o?konta(?:bankowego)?|rachunekbankowy|"
    r"(?:numero(?:de)?)?comptebancaire|(?:numero(?:de)?)?cuentabancaria|contocorrente|clabe"
)
_NO_SECRET: Final = re.compile(r".*(?:at|on|date|time|count|status|type|enabled|required|expires|expiry)")


@lru_cache(maxsize=_REMEMBERED)
def is_secret(column: str) -> bool:
    """Return whether a column holds passwords, tokens, or numbers of cards, bank accounts or social security. Such a
    column is used only if it is mapped on purpose.
    """
    folded = fold(column)
    return _SECRET.fullmatch(folded) is not None and not _NO_SECRET.fullmatch(folded)


# Flags -----------------------------------------------------------------------------------------------------------

YES: Final = _word_set("true t yes y 1 x ja oui si sí sim on wahr vrai verdadero vero waar verdadeiro sant kyllä kylla")
NO: Final = _word_set("false f no n 0 nein non nee não nao nej nei ei off falsch faux falso onwaar falskt")

_SET_WHEN_GONE: Final = _word_set("""
    deleted isdeleted archived isarchived disabled isdisabled inactive isinactive deactivated isdeactivated
    removed isremoved closed isclosed blocked isblocked banned isbanned suspended issuspended markedasdeleted
    softdeleted deletedflag deletionmark accountdisabled customerdisabled geloescht geloscht archiviert gesperrt
    supprime archive eliminado archivado desactivado eliminato archiviato disattivato verwijderd gearchiveerd
    excluido arquivado raderad slettet
""")
_SET_WHEN_THERE: Final = _word_set(
    "active isactive enabled isenabled aktiv istaktiv actif estactif activo attivo actief ativo aktiivinen"
)
_DATED_WHEN_GONE: Final = _word_set(
    "deletedat archivedat disabledat deactivatedat deletedon archivedon deletiondate deleteddate archiveddate"
)


@dataclass(frozen=True)
class Flag:
    """A column that says of a record that it is deleted or disabled. `gone` are the words that say so, lower case; null
    if every value does, as a time of deletion.
    """

    column: str
    gone: frozenset[str] | None


def flag(column: str) -> Flag | None:
    """Return the flag that a column is by its name, null if it is none."""
    folded = fold(column)
    if folded in _SET_WHEN_GONE:
        return Flag(column, YES)
    if folded in _SET_WHEN_THERE:
        return Flag(column, NO)
    return Flag(column, None) if folded in _DATED_WHEN_GONE else None
