"""Families of column names: words that systems and people combine in every way, such as `cod_cliente`, `date_created`.

A family is a set of first words and a set of second words, each of which may be joined with each. A name that is in
`header_words.py` as well means what it says there.

Sources: the technical and database names in the documentation of about eighty systems (accounting, billing, shops,
directories, SAP, Oracle's sample schemas) as of 2026-11, and tables and API objects in public code as of 2026-12
(`tests/pipelines/technical_names.txt`); words in other languages than English are our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from tranship.schemas.column_names import fold


class Family(NamedTuple):
    """Names that mean one field: each of the first words followed by each of the second ones, and the other way round
    if they can be `turned`. A level as in `header_words.WORDS`. `~` is an empty word.
    """

    field: str
    level: int
    first: str
    second: str
    turned: bool = False


_ID: Final = "id no nr nbr nmbr num number code key ref reference identifier ident uid uuid guid"
_MOMENT: Final = (
    "at on date dt time ts tstamp timestamp datetime date_time stamp utc at_utc date_utc dt_utc utc_date time_utc "
    "datetime_utc timestamp_utc date_and_time"
)
_WHEN: Final = "date dt time ts when datetime timestamp date_of date_utc date_time"
_DESCRIBED: Final = (
    "nombre nome nom naam descripcion descrizione descricao libelle desc denominacion denominazione bezeichnung"
)
_OF_INVOICES: Final = (
    "billing invoice invoices invoicing bill_to finance accounting accounts_payable ap accounts payable payables "
    "remittance"
)

FAMILIES: Final = (
    # Ids.
    Family("external_id", 1, "customer cust client account acct debtor cust_account customer_account", _ID),
    Family(
        "external_id", 1, "kunde kunden kd kdn debitor debitoren", "number nr nummer no num id kennung code schlüssel"
    ),
    Family(
        "external_id",
        1,
        "codigo cod cód cd num numero nro no n nr id clave cve ref codice numer kod kode code n_de num_de id_del "
        "cod_del código_del",
        "cliente del_cliente do_cliente client du_client de_cliente cli clie clte",
        turned=True,
    ),
    Family("external_id", 1, "klant debiteur debiteuren", "nr nummer no num id code", turned=True),
    Family("external_id", 1, "kund kunde debitor kunde_", "nr nummer no num id kod kode", turned=True),
    Family("external_id", 1, "asiakas asiakkaan", "nro numero id koodi tunnus"),
    Family("external_id", 1, "id nr numer kod symbol", "klienta kontrahenta odbiorcy nabywcy"),
    Family("external_id", 1, "klient kontrahent odbiorca", "id nr kod"),
    Family("external_id", 1, "vevo ugyfel partner", "kod kodja szam szama azonosito azonositoja"),
    Family("external_id", 1, "id cislo kod", "zakaznika klienta odberatele odberatela"),
    Family("external_id", 4, "contact person kontakt party geschäftspartner tiers", "id code key uuid guid"),
    Family("external_id", 4, "geschäftspartner business_partner", "nr nummer no number num id code"),
    Family("external_id", 4, "code cod codigo num id ref", "tiers tercero contact contacto contatto kontakt"),
    Family("external_id", 1, "id", "customer client account"),
    Family("external_id", 4, "id", "contact person party"),
    Family("external_id", 8, "user member subscriber patient donor student usr", "id no nr number"),
    Family("external_id", 8, "id", "member subscriber"),
    Family("external_id", 8, "guest attendee participant supporter constituent", "id no nr number"),
    Family("external_id", 8, "local", "id uid"),
    Family("external_id", 8, "mitglied mitglieds mitgl benutzer nutzer", "nr nummer id"),
    Family("external_id", 8, "gast gäste teilnehmer mieter spender patient patienten abonnenten", "nr nummer id"),
    Family("external_id", 8, "lid leden medlem medlems donateurs abonnee giver gever bidragsyter", "nr nummer id"),
    Family(
        "external_id",
        8,
        "numero num no n n_de no_de nr_de numero_de numero_di",
        "adherent socio abonne abonado tessera",
        turned=True,
    ),
    Family("external_id", 8, "nr numer id", "czlonka czlonkowski abonenta"),
    Family(
        "external_id",
        8,
        "numero num no n n_de no_de nr_de numero_de numero_di numero_do code codigo codice id",
        "membre societaire donateur beneficiaire miembro asociado afiliado membro associado filiado beneficiario "
        "iscritto donante donatore doador tesserato",
        turned=True,
    ),
    # The number of a company in a system for customers: below the words for a customer. A `Numéro d'entreprise` and an
    # `Organisationsnummer` are those of registers, and a `Codice ditta` may be that of whoever writes the export.
    Family(
        "external_id",
        13,
        "numero num no n nr numer",
        "azienda ditta organizzazione empresa organizacion organizacao firmy organizacji",
    ),
    Family("external_id", 16, "relatie rel", "code nummer nr"),
    Family(
        "external_id", 8, "id code numero num", "utilisateur adherent abonne usuario utilizador socio utente abonado"
    ),
    # E-mail addresses and telephone numbers.
    Family("email", 1, "haupt primäre", "email e_mail mail mailadresse email_adresse e_mail_adresse"),
    Family("email", 1, "email e_mail mail", "1 adr addr adresse_1 principal principale haupt main primary"),
    Family("email", 1, "smtp smtp_email", "address addr"),
    Family(
        "email",
        4,
        "email e_mail mail correo courriel correo_electronico",
        "contact contacto contatto contato kontakt de_contact du_contact de_contacto del_contacto do_contacto "
        "de_contato do_contato di_contatto del_contatto referente",
    ),
    Family("phone", 2, "phone telephone tel telefon telefono telefone", "secondary secondaire secundario secondario"),
    Family("email", 1, "correo courriel mail", "e principal principale electronico_principal"),
    Family(
        "phone",
        1,
        "phone telephone tel telefon fon telefono telefone telefoon tlf telefonnummer",
        "nr num no number numero nummer main fixed fixe fijo fisso fixo vast haupt principal principale primary "
        "contact and_fax and_fax_number fax_number comercial_1 1",
    ),
    Family(
        "phone", 1, "main primary landline fixed_line contact_phone", "number no tel telephone phone_number phone_no"
    ),
    Family("phone", 1, "festnetz landline festnetznummer rufnummer telefonnr", "~ nummer nr"),
    Family("phone", 1, "num numero no nr n", "telephone de_telephone tel telefono de_telefono telefone de_telefone"),
    Family(
        "phone",
        2,
        "phone telephone tel telefon telefono telefone telefoon tlf telefonnummer",
        "mobile cell mobil mobiel portable movil celular cellulare mobilnummer",
    ),
    Family("phone", 2, "phone_number telefoonnummer tel telefon", "mobiel mobile mobil kom komorkowy komorka"),
    Family("phone", 2, "mobile cell mobil mobiel gsm handy mobiltelefon movil celular", "nr no num number nummer tel"),
    Family("phone", 2, "mobiltel mobil mobiltelefon mobile handy", "1"),
    Family(
        "phone", 2, "numero num no n nr", "portable de_portable movil celular cellulare mobile telemovel de_telemovel"
    ),
    Family("phone", 2, "mobile_telephone mobile_tel cell_tel cell_no cell_phone_no cell_telephone", "~ number"),
    Family(
        "phone",
        3,
        "phone telephone tel telefon telefono telefone telefoon tlf telefoonnummer telefonnummer",
        "g d gesch work business office company bureau travail trabajo oficina ufficio lavoro comercial empresa werk "
        "zakelijk arbete jobb arbeid geschäftlich geschäft dienstlich büro firma profissional professionnel",
    ),
    Family("phone", 3, "work business office company daytime day", "phone_number phone_no telephone tel"),
    Family(
        "phone",
        4,
        "phone telephone tel telefon telefono telefone telefoon tlf telefoonnummer telefonnummer",
        "p home private personal privat privé domicile maison casa residencial particular abitazione thuis hem",
    ),
    Family("phone", 5, "contact contact_telephone", "number no"),
    Family("phone", 1, "phone phone_phone_number phone_number", "national_number"),
    Family("phone", 1, "phones phone_numbers telephones contact_numbers", "value number phone_number phone"),
    Family(
        "phone", 1, "telefones telefonos telefoni fones celulares", "numero number valor valore value fone telefone"
    ),
    Family("phone", 4, "home private personal evening", "phone_number phone_no telephone tel number"),
    Family("email", 1, "email e_mail mail", "value email"),
    Family("email", 1, "primary_email_addr email_addr primary_email", "~ address"),
    Family("phone", 1, "primary_phone", "free_form_number value"),
    Family("phone", 2, "mobile alternate_phone", "free_form_number"),
    Family("currency", 1, "currency_ref default_currency_ref", "value code"),
    Family("phone", 1, "phone telephone phone_number", "value e164 formatted"),
    Family("email", 2, "emails email_addresses correos", "value email correo valor valore endereco direccion address"),
    Family(
        "email",
        2,
        "email e_mail mail emailadresse e_mail_adresse",
        "geschäftlich dienstlich büro firma professionnel pro bureau travail trabajo oficina lavoro ufficio werk "
        "zakelijk arbete arbejde arbeid jobb",
    ),
    Family(
        "email",
        2,
        "geschäftliche dienstliche berufliche professionele zakelijk zakelijke",
        "email e_mail mail emailadresse e_mail_adresse mailadresse e_mailadres",
    ),
    Family(
        "email",
        3,
        "private privat persönliche privé personal",
        "e_mail mail emailadresse e_mail_adresse e_mailadres",
    ),
    Family("phone", 3, "geschäftliche dienstliche berufliche zakelijk", "telefonnummer rufnummer telefonnr telefoon"),
    Family("phone", 4, "private privat persönliche privé", "telefonnummer rufnummer telefonnr telefoon telefoonnummer"),
    Family(
        "email",
        3,
        "email e_mail mail emailadresse e_mail_adresse",
        "privat privé perso personnel privato privada particular personale",
    ),
    # Addresses.
    Family("country", 2, "country land pays pais paese kraj cntry ctry", "code iso iso2 iso_2 iso_code cd kode kod"),
    Family("country", 2, "country land", "alpha2 alpha_2 code_alpha2 iso_alpha_2 region_code code_iso2 key kz"),
    Family(
        "country",
        2,
        "code cod codigo codice iso kod iso_kod",
        "pays pais paese kraju land statu zeme krajiny orszag",
    ),
    Family("country", 1, "country cntry", "nm name region"),
    Family("country", 1, _DESCRIBED, "pais pays paese nazione nacion land", turned=True),
    Family("state", 1, _DESCRIBED, "provincia prov departamento departement region regione uf bundesland", turned=True),
    Family("city", 1, _DESCRIBED, "poblacion comune municipio concelho localita commune", turned=True),
    Family("state", 1, "state province prov region_state state_province", "nm name region_name"),
    Family("state", 3, "state province county prov st", "cd iso abbr abbreviation short"),
    Family("zip_code", 1, "zip post postal postcode", "cd code number no kode kod area_code"),
    Family("zip_code", 1, "pst", "cd code"),  # a `PST number` is one of taxes
    Family("zip_code", 1, "postleitzahl plz", "ort_plz firma hausanschrift"),
    Family("zip_code", 1, "cod codigo cód code c", "postal postale post po_stal", turned=True),
    Family("zip_code", 1, "codice cod", "avviamento_postale di_avviamento_postale"),
    Family("city", 1, "city town cty", "nm name or_town suburb"),
    Family("city", 1, "ville ciudad citta cidade stadt ort plaats localite localidad", "nom nombre nome name naam"),
    Family("address_line1", 2, "street str strasse straße", "addr adr address name_and_number and_number no_name nm"),
    Family("address_line1", 2, "addr adr strasse_hausnr strasse_hnr strasse_und_hausnr strasse_u_hausnr", "~ 1 line_1"),
    Family(
        "address_line1",
        2,
        "calle rua via rue adresse direccion indirizzo endereco logradouro",
        "numero_et_nom_de_rue numero_et_rue numero_et_voie numero_rue n_et_rue numero_y_calle calle_y_numero "
        "rua_e_numero via_e_numero y_numero y_no y_n e_numero e_no e_n et_numero et_no et_n e_civico e_n_civico "
        "e_numero_civico",
    ),
    Family("address_line2", 1, "address addr adr street", "line_2 ln_2 ln2 2 complement additional addition extra"),
    Family("address_line1", 1, "address addr adr street", "line_1 ln_1 ln1 l1"),
    Family(
        "address_line2", 1, "supplemental supplementary additional", "address address_line address_line_1 address_line1"
    ),
    Family("address_line2", 2, "zusatz adress zusätzliche", "adresse zusatz adresszusatz adresszeile"),
    Family("address_line2", 2, "suite unit apt apartment flat", "no number nr num apt unit"),
    Family(
        "address_line2",
        2,
        "suite ste unit apt apartment flat",
        "suite ste unit apt apartment flat floor building bldg room etc other suite_unit unit_suite suite_floor "
        "suite_etc suite_other suite_bldg unit_floor unit_etc suite_no suite_number unit_no unit_number apt_no "
        "apt_number",
    ),
    Family("timezone", 1, "timezone time_zone tz", "name code iana iana_name tzid"),
    # Codes and terms.
    Family("currency", 1, "curr", "~"),
    Family(
        "currency",
        1,
        "currency curr ccy valuta devise moneda moeda waehrung waluta mena penznem",
        "code iso cd key iso_code kod kode koodi",
    ),
    Family(
        "currency",
        2,
        "devise monnaie moneda divisa valuta moeda",
        "de_facturation facturation de_facturacion facturacion di_fatturazione fatturazione de_faturacao faturacao "
        "de_faturamento faturamento",
    ),
    Family(
        "currency", 1, "code cod codigo codice kod default", "devise monnaie moneda valuta moeda waluty meny currency"
    ),
    Family("language", 1, "language lang sprach langue idioma taal språk sprog", "code cd key iso id kz kod kode"),
    Family(
        "language", 1, "preferred default customer correspondence contact pref", "lang language locale sprache langue"
    ),
    Family("language", 1, "document documents invoice invoices billing", "lang language locale language_code"),
    Family("language", 1, "code cod codigo codice kod kód", "langue idioma lingua taal jezyka jazyka linguaggio"),
    Family(
        "net_terms",
        1,
        "payment payment_terms payment_term default_payment_terms default_payment_term net credit terms invoice_due "
        "due credit_terms credit_period payment_period",
        "days in_days day_count due_days net_days no_of_days",
    ),
    Family("net_terms", 1, "days", "to_pay until_due credit payment_due"),
    Family(
        "net_terms",
        1,
        "zahlungsziel zahlungsfrist zahlungsbedingung netto zahlungs zahlungsziel_netto zahlungsfrist_netto",
        "tage tagen in_tagen",
    ),
    # `Días de pago` may be the days of the month on which a customer pays.
    Family("net_terms", 1, "dias", "credito de_credito cred vencimiento prazo de_prazo"),
    Family("net_terms", 1, "plazo", "pago de_pago credito de_credito cobro de_cobro vencimiento"),
    Family("net_terms", 1, "prazo", "pagamento de_pagamento pgto recebimento de_recebimento vencimento"),
    Family("net_terms", 1, "jours nb_jours delai nombre_de_jours", "paiement de_paiement reglement de_reglement"),
    Family("net_terms", 1, "giorni gg", "pagamento di_pagamento scadenza"),
    Family("net_terms", 1, "termin termin_platnosci dni", "dni platnosci zaplaty"),
    Family(
        "net_terms",
        2,
        "cond condicion condicoes condiciones condizioni condizione condicao",
        "pago pagamento de_pago de_pagamento di_pagamento pag pgto paiement reglement",
    ),
    Family(
        "net_terms",
        2,
        "payment_terms payment_term payment_condition terms credit_terms pay_terms pymt_terms pmt_terms zahlungsbed "
        "zahlungsbedingung zahlungsziel betalingsconditie betalingsbetingelse betalingsbetingelser betalningsvillkor",
        "code cd key name description text desc kode kod",
    ),
    Family("net_terms", 2, "terms term conditions", "of_payment"),
    Family("net_terms", 2, "pymtrm pymtrms paytrm paytrms pymt_terms", "~ id code cd desc"),
    Family("net_terms", 2, "default standard customer", "payment_terms payment_term terms"),
    # The times of a record.
    Family("created_at", 1, "created create creatd creation crt cre", _MOMENT),
    Family("created_at", 1, _WHEN, "created create creation created_utc created_at"),
    Family("created_at", 2, "added joined join registered registration signup sign_up signed_up", _MOMENT),
    Family(
        "created_at",
        2,
        "data data_de data_da dt fecha fecha_de date_d",
        "admissao adm admision afiliacion ingreso cad cadastro",
    ),
    Family("created_at", 2, "reg", "date dt time ts timestamp datetime"),  # `REGON` is a number of Polish companies
    Family("created_at", 2, "entered entry inserted insert ins enrolled enrollment onboarded opened", _MOMENT),
    Family(
        "created_at", 2, _WHEN, "add added joined registered entered inserted opened enrolled signed_up account_opened"
    ),
    Family(
        "created_at",
        2,
        "account member customer",
        "since opened opening_date open_date since_date created creation_date",
    ),
    Family("created_at", 1, "angelegt erstellt erfasst anlage erstell erstellungs", "am datum dat zeit zeitpunkt um"),
    Family("created_at", 2, "erfassungs eröffnungs registrierungs registriert aufnahme", "datum am dat"),
    Family(
        "created_at", 1, "date date_de date_d dt", "crea cre creation ajout inscription enregistrement ouverture saisie"
    ),
    Family("created_at", 1, "cree crée ajoute inscrit enregistre", "le en"),
    Family("created_at", 1, "fecha fecha_de fec f fch", "alta creacion registro ingreso creado inscripcion"),
    Family("created_at", 1, "data data_di dt", "ins creazione inserimento registrazione iscrizione apertura"),
    Family("created_at", 1, "data data_de data_do dt", "cadastro criacao registro inclusao inscricao"),
    Family(
        "created_at",
        1,
        "criado cadastrado registrado incluido adicionado creado inserito creato registrato",
        "em el en il",
    ),
    Family("created_at", 1, "aanmaak aangemaakt ingevoerd invoer registratie toegevoegd aanmeld", "datum op"),
    Family("created_at", 1, "datum", "aangemaakt aanmaak invoer skapad skapat registrerad upplagd vytvoreni zalozeni"),
    Family("created_at", 1, "skapad skapat upplagd registrerad tillagd", "datum den ~"),
    Family("created_at", 1, "oprettet opprettet oprettelses opprettelses registrert registreret", "dato den ~"),
    Family("created_at", 1, "luonti luotu lisätty rekisteröity", "pvm päivä aika ~"),
    Family(
        "created_at", 1, "data czas utworzono dodano", "utw utworzenia dodania rejestracji zalozenia wprowadzenia dnia"
    ),
    Family("updated_at", 1, "updated update upd last_updated last_update last_upd", _MOMENT),
    Family("updated_at", 1, _WHEN, "updated last_updated update last_update updated_utc last_updated_utc"),
    Family(
        "updated_at",
        2,
        "modified modification mod modif modifd last_modified last_mod last_modification edited",
        _MOMENT,
    ),
    Family("updated_at", 2, "changed change chg last_changed last_change last_edited amended", _MOMENT),
    Family(
        "updated_at",
        2,
        "record profile data entry row details",
        "updated modified changed last_updated last_modified last_changed last_edited updated_at updated_on",
    ),
    Family("created_at", 2, "record profile entry row", "created added created_at created_on creation_date date_added"),
    Family(
        "updated_at",
        2,
        _WHEN + " last_date",
        "chgd upd updt mod modif "
        "modified last_modified modified_utc changed last_changed edited last_edited last_change",
    ),
    Family("updated_at", 2, "geändert änderung änderungs letzte_änderung aktualisiert bearbeitet", "am datum dat um"),
    Family("updated_at", 2, "zuletzt letzte", "geändert änderung aktualisiert bearbeitet aktualisierung geändert_am"),
    Family(
        "updated_at",
        2,
        "date date_de dt derniere date_derniere",
        "modification modif maj mise_a_jour derniere_modification derniere_maj",
    ),
    Family("updated_at", 2, "modifie maj mis_a_jour", "le"),
    Family(
        "updated_at",
        2,
        "fecha fecha_de fec f ultima fecha_ultima",
        "ult_mod ult_modif ult_act modificacion actualizacion ultima_modificacion ultima_actualizacion cambio",
    ),
    Family("updated_at", 2, "data data_di dt ultima data_ultima ultimo", "mod modifica aggiornamento ultima_modifica"),
    Family(
        "updated_at",
        2,
        "data data_de data_da dt ultima data_ultima",
        "alteracao modificacao atualizacao ultima_atualizacao ultima_alteracao",
    ),
    Family(
        "updated_at",
        2,
        "wijzigings gewijzigd laatst_gewijzigd mutatie laatste_wijziging laatste_mutatie",
        "datum op dd ~",
    ),
    Family(
        "updated_at", 2, "andrad uppdaterad senast_andrad senast_uppdaterad senast", "datum den ~ andrad uppdaterad"
    ),
    Family("updated_at", 2, "endret ændret opdateret oppdatert sist_endret sidst_ændret senest_ændret", "dato den ~"),
    Family("updated_at", 2, "muokkaus muokattu päivitys päivitetty", "pvm päivä aika ~"),
    Family(
        "updated_at",
        2,
        "data czas ostatnia data_ostatniej czas_ostatniej",
        "modyfikacji aktualizacji zmiany modyfikacja zmiana aktualizacja",
    ),
    Family("cancel_date", 1, "cancelled canceled cancel cancellation churned churn", _MOMENT),
    Family("cancel_date", 1, _WHEN, "cancelled canceled churned cancellation"),
    Family("cancel_date", 2, "terminated termination closed closing closure", "at on date dt"),
    Family("cancel_date", 2, "date dt", "terminated closed"),
    Family("cancel_date", 1, "gekündigt kündigung kündigungs storniert", "am datum dat zum"),
    Family("cancel_date", 2, "austritt austritts ausgetreten", "am datum dat zum"),
    Family("cancel_date", 2, "utträdes utträtt utmeldings utmeldt udmeldelses udmeldt uitschrijf", "datum dato den"),
    Family(
        "cancel_date", 1, "date date_de fecha fecha_de fec f data data_di data_de dt", "resiliation annulation baja"
    ),
    Family("cancel_date", 1, "fecha fecha_de data data_di data_de dt", "cancelacion disdetta cessazione cancelamento"),
    Family("cancel_date", 1, "opzeg opzeggings opgezegd uppsägnings opsigelses oppsigelses", "datum op dato"),
    Family("cancel_date", 1, "data", "rezygnacji anulowania wypowiedzenia"),
    Family("trial_started", 1, "trial_start trial_started trial_begin trial_begins trial_activated", _MOMENT),
    Family("paid_started", 1, "first_payment first_paid paid_start paid_started", _MOMENT),
    Family("paid_started", 2, "activated activation first_activated", "at on date dt"),
    # Tax ids.
    Family(
        "tax_id",
        1,
        "vat vat_reg vat_registration vat_tax eu_vat customer_vat sales_tax_registration tax_vat ust mwst btw moms mva "
        "iva partita_iva p_iva tva",
        "id ids no nr num number reg_no reg_number registration_no registration_number idnr id_nr id_no id_number "
        "nummer identification_number reg_nr",
    ),
    Family(
        "tax_id",
        1,
        "num numero no nr n id identifiant identificativo numero_de n_de no_de",
        "tva iva tva_intracommunautaire tva_intracom tva_intra iva_intracomunitario vat partita_iva tva_intracomm",
    ),
    Family(
        "tax_id", 1, "umsatzsteuer ust mehrwertsteuer", "id_nummer identnummer ident_nr identifikationsnr nr nummer"
    ),
    Family("tax_id", 2, "txrgn tx_reg tax_rgn", "num no nbr nmbr"),
    Family("tax_id", 1, "tva_intracom tva_intra tva_intracommunautaire tva", "~ numero"),
    Family(
        "tax_id",
        2,
        "tax tax_reg tax_registration taxpayer gst gst_reg gst_registration sales_tax fiscal tax_identification "
        "federal_tax us_tax",
        "id ids no nr num number id_no id_num id_number reg_no identifier registration_number",
    ),
    Family("tax_id", 2, "fiscal", "code"),
    Family("tax_id", 2, "nif cif nie rfc cnpj cpf dni", "vat nif cif cnpj cpf iva dni nie numero"),
    Family(
        "tax_id",
        2,
        "num numero no n nr num_de numero_de no_de n_de",
        "contribuinte contribuyente contrib nif cif rfc rut ruc nit cuit cnpj cpf identificacion_fiscal "
        "identificacion_tributaria identificacao_fiscal identificacao_tributaria registro_federal_de_contribuyentes",
    ),
    Family("tax_id", 2, "codigo cod numero id identificacion identificador num", "fiscal fiscale tributaria nif cif"),
    Family("tax_id", 2, "steuer", "nr id nummer identnummer"),
    # Where invoices go.
    Family("billing_contact_email", 1, _OF_INVOICES, "email e_mail mail email_address email_addr mailbox", turned=True),
    Family("billing_contact_email", 1, "send_invoices_to invoice_to bill_to_contact invoice_recipient", "email e_mail"),
    Family(
        "billing_contact_email", 1, "email e_mail mail", "for_invoices to_invoice for_billing invoice_to for_invoice"
    ),
    Family(
        "billing_contact_email",
        1,
        "rechnung rechnungs rechnungen buchhaltung buchhaltungs fact facturation facture factures compta comptabilite "
        "facturacion factura facturas contabilidad cobranca fatturazione fatture amministrazione factuur facturatie "
        "facturen boekhouding faktura fakturerings fatura faturacao faturamento financeiro faktury lasku laskutus",
        "email e_mail mail epost e_post mailadresse email_adresse emailadres",
        turned=True,
    ),
    Family(
        "billing_contact_email", 1, "email e_mail mail courriel correo", "de_facturation de_facturacion di_fatturazione"
    ),
    Family("billing_contact_name", 1, _OF_INVOICES, "contact contact_name attention attn contact_full_name"),
    Family(
        "billing_contact_name",
        1,
        "factuur faktura fakturerings facturatie",
        "contact contactpersoon kontakt kontaktperson",
    ),
    Family("billing_contact_name", 1, "invoice_recipient send_invoices_to", "name attention attn"),
    # Names.
    Family(
        "name",
        1,
        "name name1 nom nombre nome naam navn namn nazwa",
        "client cliente kunde kunden klant kund klienta kontrahenta nabywcy odbiorcy zakaznika tiers du_tiers tercero "
        "del_tercero",
        turned=True,
    ),
    Family(
        "name",
        1,
        "customer client cust account acct party debtor debitor debitoren debiteur debiteuren",
        "nm name name1 name_1 naam",
    ),
    Family("name", 1, "name", "1 line_1"),
    Family("name", 1, "naam nom nazwa navn namn nazev nazov", "1"),
    Family("name", 2, "member subscriber buyer shopper payer donor patient student", "name full_name"),
    # Kinds of customers.
    Family("customer_type", 1, "customer client account cust", "type kind typ type_name class_type"),
    Family(
        "customer_type",
        1,
        "type typ art tipo tipologia tipologia_di rodzaj kategoria",
        "klienta cliente client kunde kund klant kontrahenta",
    ),
    Family("customer_type", 2, "entity legal_entity party", "type kind"),
    Family("status", 1, "customer client account cust acct", "status status_code status_name"),
    Family("status", 1, "status stav", "klienta kontrahenta zakaznika cliente client"),
    Family(
        "legal_name", 1, "legal registered registered_company official statutory", "name company_name business_name"
    ),
)

_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "æ": "ae", "ø": "oe", "å": "aa"})


def names() -> Iterator[tuple[str, str, int]]:
    """Yield the folded name of a column, its field and its level; umlauts are one letter or two: `geandert`,
    `geaendert`.
    """
    for family in FAMILIES:
        first, second = _words(family.first), _words(family.second)
        joined = [before + after for before in first for after in second]
        if family.turned:
            joined += [before + after for before in second for after in first]
        yield from ((name, family.field, family.level) for name in joined)


def _words(listed: str) -> list[str]:
    # Thousands of names are joined from these, so each word is folded once, not each name.
    words = listed.replace("~", "_").split()
    return list(dict.fromkeys(map(fold, (*words, *(word.translate(_UMLAUTS) for word in words)))))
