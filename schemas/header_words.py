"""The words of column names: their meanings, the roles that may precede them, and the places where they have none.

Sources: export formats of about fifty systems, as documented by their vendors in 2026-11, technical names of SAP (KNA1,
ADRC, OCRD) and LDAP (RFC 4519); words in German, French, Spanish, Italian, Dutch, Portuguese, Swedish, Danish,
Norwegian and Finnish are our own, with the commonest ones in Polish, Czech, Slovak and Hungarian. So are the names of
ids and terms in Italian and Spanish programs for invoices (`Codice interno`, `Código interno`, `Vencimiento (días)`,
`Scadenza (giorni)`): no vendor was found that documents them.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


def word_set(words: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(words.split())


# Field → words, in levels separated by `|`: if several columns fit, one of an earlier level is used. Two words of one
# level with different meanings leave the choice to the user. The field's own name, and the words in OWN_NAMES, precede
# the first level.
WORDS: Final[dict[str, str]] = {
    "external_id": """
        externalid external_customer_id customer_id customerid customer_key customer_number customer_no
        customer_code client_id client_number client_code account_id account_number account_code account_no
        cust_id cust_no customer_external_id kundennummer
        kunnr cardcode an8 customer_account cust_account shopper_reference kontaktnummer
        kundennr kundenid kunden_nr debitorennummer debitorennr debitorenkonto numero_client numero_de_client
        no_client n_client code_client id_client identifiant_client reference_client numero_de_cliente
        numero_cliente no_cliente n_cliente id_cliente codigo_cliente codigo_de_cliente codice_cliente
        codigo_do_cliente klantnummer klantnr klant_id klantcode debiteurnummer kundnummer kundnr kund_id
        kundenummer kundenr kunde_id kundekode debitornummer debitornr asiakasnumero asiakasnro asiakas_id kundenkonto
        debitoren_nr debitor_nr code_tiers codigo_del_cliente numero_del_cliente numer_klienta nr_klienta kod_klienta
        id_klienta cislo_zakaznika codice_anagrafica cod_anagrafica ugyfelszam ugyfelkod ugyfel_azonosito vevokod
        vevoszam vevo_azonosito partnerkod partner_kod partner_azonosito
        | external_key external_reference customer_reference external_ref customer_ref
        | id | identifier identifikator identyfikator identifiant identificador identificativo
        identifiant_unique identificador_unico identificativo_univoco azonosito
        | uuid guid
        | record_id row_id entity_id do_not_modify_account do_not_modify_contact do_not_modify_lead
        | contact_id person_id
        | card_id item_id_auto_generated
        | square_customer_id
        | reference_id
        | subscriber_id internal_id object_id objectguid
        | uid
        | sub
        | account_ref a_c a_c_ref a_c_no a_c_number a_c_code acc_ref acc_no acc_number acc_id
        | codigo_de_integracao codigo_integracao integration_code integration_id internal_code internal_number
        interne_nummer code_interne numero_interne codice_interno numero_interno
        codigo_interno
        | code codice codigo clave cve kode kod koodi cod kontaktnr kontakt_nr debtor_no debtor_number debtor_code
        relatiecode relatienummer relatienr
        kartei_nr akronim symbol
        | nr no nummer number numero num numer nro
    """,
    "email": """
        primary_email customer_email contact_email user_email email_id e_mail_id e_post epost e_postadress
        email_pred email_predeterminado correo_predeterminado
        epostadress e_postadresse epostadresse mailadresse email_adresse e_mail_adresse courriel adresse_email
        adresse_de_messagerie indirizzo_posta_elettronica indirizzo_di_posta_elettronica
        adresse_mail adresse_e_mail adresse_electronique adresse_courriel correo correo_electronico
        direccion_de_correo direccion_de_correo_electronico posta_elettronica indirizzo_email indirizzo_e_mail
        adres_e_mail adres_email e_mailadres emailadres mailadres endereco_de_email correio_eletronico sahkoposti
        sahkopostiosoite login_email
        e_mail_cim email_cim emailova_adresa
        | emails email_addresses e_mails work_email business_email company_email
        | personal_email home_email other_email
        | secondary_email second_email alternate_email alternative_email additional_email
        | subscriber
    """,
    # Beside other names of a person, `person_names.py` chooses between these.
    "name": """
        customer_name client_name account_name customer_full_name kundenname nom_du_client nom_client
        nombre_del_cliente nombre_cliente nome_cliente nome_do_cliente klantnaam kundnamn kundenavn asiakkaan_nimi
        nom_ou_raison_sociale raison_sociale_ou_nom nombre_o_razon_social nombre_razon_social
        nazwa_pelna pelna_nazwa nazwa_kontrahenta partner_neve partnernev vevo_neve vevonev ugyfel_neve ugyfelnev
        nome_o_ragione_sociale nome_ragione_sociale nome_razao_social nome_ou_razao_social
        denominazione_ragione_sociale denominazione_o_ragione_sociale nazwa_klienta party_name card_name alph
        | display_name full_name namn navn naam nimi nev
        | societa ditta impresa compania compagnie companhia raz_social
        company company_name organization organisation organization_name organisation_name business_name firma
        firmenname unternehmen unternehmensname entreprise nom_entreprise nom_de_l_entreprise societe
        nom_de_la_societe raison_sociale empresa nombre_empresa nombre_de_la_empresa razon_social azienda
        nome_azienda ragione_sociale rag_soc denominazione bedrijf bedrijfsnaam nome_da_empresa razao_social foretag
        foretagsnamn
        virksomhed virksomhedsnavn firmanavn bedrift bedriftsnavn yritys yrityksen_nimi associated_company nazwa_firmy
        nazev_firmy nazov_firmy obchodne_meno obchodni_nazev cegnev ceg
        | customer client kunde klant kund asiakas cliente klient zakaznik
        | contact_name intitule libelle nom nombre nome
    """,
    "legal_name": """
        legal_company_name legal_entity legal_entity_name registered_name company_legal_name legal_business_name
        denomination_sociale nombre_legal denominacion_social denominazione_sociale statutaire_naam juridisk_namn
    """,
    "customer_type": """
        parteityp partnertyp kontakttyp kontaktart personenart
        client_type account_type type_of_customer customer_kind kundentyp kundenart type_de_client type_client
        tipo_de_cliente tipo_cliente tipo_di_cliente tipo_do_cliente klanttype kundtyp kundetype asiakastyyppi
        typ_klienta
        | company_type customer_sub_type contact_type partner_type person_type type_of_person type_de_personne
        tipo_de_pessoa tipo_pessoa tipo_de_persona tipo_persona tipo_di_persona
    """,
    "phone": """
        main primary_phone contact_phone main_phone best_phone best_phone_number preferred_phone_number
        phone_numbers phones telephones telefon telefonnummer telefonnr rufnummer
        telefon_kontaktowy tel_kontaktowy nr_telefonu numer_telefonu telefonni_cislo telefonne_cislo telefonszam
        tfno tlfno tfn
        tele national_number phone_number_national_number business_phones contact_numbers
        telf1 tel_number numero_de_telephone telefono numero_de_telefono numero_di_telefono telefoon
        telefoonnummer telefone fone tlf
        tlfnr tlf_nr puhelin puhelinnumero puh puh_nro ph ph_no ph_number
        | telf2 cellular mobile mobile_phone mobile_number mobile_no cell cell_phone cellphone handy
        handynummer mobil mobilnummer
        mobiltelefon portable telephone_portable mobile_phone_number movil telefono_movil celular cellulare mobiel
        whatsapp_number whatsapp_no whatsapp_phone
        mobielenummer mobieletelefoon mobiele_telefoon mobieltelefoon mobilni_cislo numer_komorkowy komorka
        gsm telemovel tlm tlmv tlmvl mobiltlf matkapuhelin telefon_komórkowy komórka mobilni_telefon
        mobilny_telefon mobilszam mobiltelefonszam telefon_komorkowy nr_telefonu_komorkowego
        | work work_phone business_phone company_phone office_phone work_direct_phone direct_phone direct_phone_number
        direct_dial direct_dial_number direct_line direct_number ddi ddi_number office_number work_number
        corporate_phone corporate_phone_number hq_phone headquarters_phone daytime_phone day_phone daytime_telephone
        switchboard switchboard_number switchboard_phone
        | home home_phone other_phone evening_phone evening_telephone
        | alternate_phone alternative_phone alt_phone secondary_phone second_phone additional_phone
        | toll_free toll_free_number toll_free_phone tollfree_phone freephone freephone_number
    """,
    "address_line1": """
        via_piazza street_1 street_address_1 street_line_1 addressline_1 street_address_line_1 strasse_1 adresse_1
        adresse_ligne_1 direccion_1 indirizzo_1 adres_1 endereco_1 adress_1 adressrad_1
        line_one first_line address_first_line first_address_line
        | street street_address street_name strasse strasse_und_hausnummer strasse_nr
        n_et_voie numero_et_voie num_et_voie
        straatnaam strassenname gatenavn gatunamn vejnavn nom_de_la_rue nom_de_rue rue calle via straat rua gata
        gatuadress gade vej gate gateadresse katuosoite road_name logradouro ulica ulice stras
        utca utca_hazszam kozterulet ulica_i_numer ulica_i_nr ulica_a_cislo ulice_a_cislo ulica_nr straat_nr
        straat_en_nummer straat_en_huisnummer straat_huisnummer
        | address adresse anschrift postanschrift adresse_postale direccion domicilio indirizzo adres endereco
        address_lines morada adress postadress postadresse osoite full_address adresa cim dir indir ind dom end mor
    """,
    "address_line2": """
        street_2 street_address_2 street_line_2 addressline_2 street_address_line_2 adresse_2 adresse_ligne_2
        direccion_2 indirizzo_2 adres_2 endereco_2 adress_2 adressrad_2 indirizzo_extra line_two second_line
        address_second_line second_address_line
        | suite extended_address adresszusatz complement_d_adresse complement_adresse complement
        complemento address_complement
        nr_lokalu numer_lokalu nr_mieszkania numer_mieszkania lagenhetsnummer busnummer numero_interior num_interior
        andar
        toevoeging toev huisnummertoevoeging huisnummer_toevoeging huisnr_toevoeging toevoegsel toevoegsel_huisnr
        toevoegsel_huisnummer
        | apartment apt appartement appartamento apartamento
        | unit
        | flat
        | floor
    """,
    "city": """
        town city_town town_city locality suburb_city city_name ort stadt wohnort ville localite ciudad localidad
        poblacion citta plaats woonplaats cidade localidade stad postort by poststed kaupunki
        varos telepules obec
        loc pob mun postarea postitoimipaikka miasto miejscowosc mesto sted ort01 city1 l suburb
        admin_area_2
        | municipio comune gemeente comuna
        local
        | cploc
        | village commune localita
    """,
    "state": """
        province state_name province_name state_province_region province_region province_state bundesland
        state_1 admin_area_1 administrative_district_level_1 administrative_area_level_1 administrative_area
        country_subdivision
        country_subdivision_code departement departamento state_or_province_code dep_region departement_region
        estado_o_provincia estado_provincia provincia_estado
        provincia_o_estado provincia_o_stato distrito_ou_estado
        provincia prov provincie fylke landskap maakunta uf pr est estado wojewodztwo województwo st
        megye prov_staat provincie_staat
        | region county region_name regione regio
        | state_code province_code region_code state_province_code
        | canton kanton cantone
    """,
    "zip_code": """
        plz postleitzahl code_postal cp codigo_postal cap codice_postale cep postnummer postnr postinumero
        postinro postal
        npa pincode pin_code pcode pst_code pstlz zip_postcode postal_zip_code kod_pocztowy psc
        iranyitoszam irsz ir_szam postove_smerovaci_cislo
    """,
    "country": """
        country_name country_region land_region landregio pays_region pais_region pais_o_region pais_ou_regiao
        nacion nacao naz paese_region paese_area_geografica land1 co ctry cntry land pays pais paese nazione
        maa kraj zeme
        krajina orszag orszagkod orszag_iso_kod orszag_kod orszag_kodja iso_orszagkod
        | stat c lkz land_kz nationskennzeichen nationalitatskennzeichen
        nationenkennzeichen länderkennzeichen laenderkennzeichen panstwo staat landekode country_region_id
        | landskod landnaam landnavn landsnavn lands_kod codice_nazione cod_nazione codice_paese kod_kraju
        | country_code country_id country_letter_code country_iso country_iso_code country_code_2 country_iso2
        country_code_iso
        land_id land_code landcode laenderkuerzel landerkurzel code_pays codigo_pais
    """,
    "currency": """
        currency_code default_currency billing_currency preferred_currency_code preferred_currency currency_iso_code
        currency_iso sales_currency_code sales_currency customer_currency account_currency base_currency
        waehrung wahrung devise monnaie moneda divisa
        waers valuta moeda valuutta waluta mena penznem munt muntcode munteenheid munt_code
    """,
    "timezone": """
        preferred_time_zone preferred_timezone default_time_zone default_timezone time_zone zoneinfo zeitzone
        fuseau_horaire zona_horaria huso_horario fuso_orario tijdzone fuso_horario tidszon
        tidszone
    """,
    "language": """
        locale language_code preferred_language preferred_locale sprache langue jezyk język jazyk idioma lingua taal
        sprak sprog kieli spras langu nyelv
        preferred_language_code communication_language language_override preferred_locales preferred_languages
    """,
    "status": """
        customer_status account_status lifecycle_status account_state kundenstatus statut statut_du_client
        client_status contact_status estado_del_cliente stato_cliente klantstatus kundstatus
        | subscription_status subscription_state membership_status membership_state member_status mitgliedsstatus
        mitgliedschaftsstatus statut_adhesion statut_d_adhesion estado_de_socio stato_socio lidmaatschapsstatus
        medlemsstatus
        | situacao situacion situacao_do_cliente situacao_cliente estatus estatus_del_cliente estatus_cliente
    """,
    "net_terms": """
        term_name terms_name net_payment_terms net_payment_term net_term net_term_days net_days terms_days
        payment_terms_days
        payment_term_days term_days payment_due_days due_days due_in_days days_until_due days_to_pay payment_days
        credit_days credit_terms krediettermijn kredietdagen kredittid kredittfrist zahlungsziel zahlungsfrist
        zahlziel zahl_ziel zziel faelligkeit_in_tagen falligkeit_in_tagen faellig_in_tagen
        fallig_in_tagen faelligkeitstage falligkeitstage zahlungstage brt_tage brutto_tage jours_de_paiement
        echeance_en_jours
        dias_de_credito dias_credito plazo_en_dias vencimiento_en_dias vencimiento_dias
        giorni_di_pagamento giorni_pagamento scadenza_in_giorni scadenza_giorni vencimento_em_dias vencimento_dias
        fizetesi_hatarido dny_splatnosti dni_splatnosti splat_dny splatnost_dny splatnost_dni splatnost_v_dnech
        domyslny_termin_platnosci
        echeance_jours betaaldagen vervaldagen prazo_em_dias dias_para_pagamento
        kreditdagar forfall_dager forfald_dage forfallodagar forfallsdager kredittdager kreditdage maksuaika
        | payment_terms payment_term terms customer_terms zahlungsbedingungen zahlungsbedingung
        zahlungskonditionen zahlungskondition zahlungsbed payment_conditions payment_condition
        conditions_de_reglement conditions_reglement condition_de_reglement delai_de_reglement delai_reglement
        delai_paiement conditions_paiement condition_de_paiement terminos_de_pago plazo_pago condiciones_pago
        condicion_de_pago termini_pagamento condizioni_pagamento condizione_di_pagamento betalingsconditie
        betalingscondities betaalconditie betaalcondities betalingsvoorwaarde betalingsvoorwaarden
        prazo_vencimento prazo_de_vencimento plazo_de_vencimiento plazo_vencimiento
        prazo_pagamento condicao_de_pagamento condicao_pagamento condicoes_pagamento termos_de_pagamento
        betalvillkor betalingsbetingelse betalingsbet betalingsvilkar betalingsvilkår
        maksuehdot termin_płatności termin_platnosci warunki_płatności warunki_platnosci splatnost
        delai_de_paiement conditions_de_paiement plazo_de_pago condiciones_de_pago termini_di_pagamento
        condizioni_di_pagamento betalingstermijn betaaltermijn prazo_de_pagamento condicoes_de_pagamento
        betalningsvillkor betalingsbetingelser betalingsfrist maksuehto
        | payment_terms_label zterm trading_terms trading_terms_text
        | payment_term_id payment_terms_id
    """,
    "created_at": """
        created creation datec created_date date_created creation_date created_on created_time created_utc create_date
        create_time
        creation_time date_of_creation erstellt erstellt_am angelegt angelegt_am anlage_am erstelldatum erstellungsdatum
        anlagedatum date_de_creation date_creation cree_le cree fecha_de_creacion fecha_creacion creado creado_el
        fecha_de_alta fecha_alta data_di_creazione data_creazione creato_il aangemaakt aangemaakt_op aanmaakdatum
        data_de_criacao data_criacao criado_em toegevoegd_op ajoute_le date_d_ajout anadido_el inserito_il skapad
        skapad_datum skapat oprettet oprettet_dato opprettet luotu data_de_cadastro data_cadastro utworzono
        erdat when_created cdate crdate ctime
        data_utworzenia vytvoreno
        datum_vytvoreni datum_vytvorenia vytvorene letrehozva letrehozas_datuma letrehozas_ideje rogzitve
        ts_zal add_datum invoerdatum
        | signup_date signed_up signed_up_on signed_up_at sign_up_date signup_at registered_at registered_on
        date_registered registration_date user_registered date_added add_time add_date added_time added_on
        added_at date_joined joined_at
        join_date registriert
        kunde_seit kunde_siden kunde_fra client_depuis cliente_desde cliente_dal klant_sinds kund_sedan
        registriert_am date_d_inscription
        inscription inscrit_le inschrijfdatum ingeschreven_op lid_sinds lid_vanaf
        innmeldt innmeldt_dato innmeldingsdato innmeldt_den indmeldt indmeldelsesdato indmeldt_dato indmeldt_den
        medlem_siden medlem_sedan medlem_fra intradesdatum date_adhesion date_d_adhesion adherent_depuis
        data_iscrizione data_di_iscrizione iscritto_dal socio_dal socio_desde mitglied_seit eintrittsdatum eintritt_am
        data_przystapienia data_registo data_de_registo data_inscricao data_de_inscricao registado_em
        opened account_opened opened_on date_opened account_opened_on eroeffnet_am eroffnet_am
        | customer_since
        | date_subscribed subscribed_at subscribed_on subscription_date subscribe_date subscribe_time
        | subscribed
    """,
    "updated_at": """
        updated updated_date date_updated last_updated updated_on last_updated_at updated_utc update_date
        aedat udate mtime last_update last_updated_on updated_time update_time last_updated_date date_last_updated
        write_date aktualisiert
        aktualisiert_am mis_a_jour mis_a_jour_le actualizado actualizado_el aggiornato bijgewerkt atualizado_em
        uppdaterad opdateret oppdatert paivitetty zaktualizowano data_aktualizacji
        mut_datum mutatiedatum datum_zmeny datum_upravy zmeneno upraveno modositva modositas_datuma utolso_modositas
        | modified modified_at last_modified last_modified_date modified_date last_modified_at last_modified_time
        modified_time date_modified modified_on last_changed last_changed_at changed_at geaendert geandert
        geaend geaend_am geaendert_am geandert_am letzte_aenderung letzte_anderung laatst_gewijzigd laatst_gewijzigd_op
        date_de_modification date_modification modifie_le
        fecha_de_modificacion fecha_modificacion data_di_modifica data_modifica
        data_variazione data_var modificato_il gewijzigd gewijzigd_op
        data_de_modificacao data_modificacao data_de_alteracao alterado_em andrad senast_andrad aendret sist_endret
        muokattu lst_upd lst_mod lst_chg last_upd last_mod last_chg last_edit last_edited do_not_modify_modified_on
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
        tva_intracommunautaire partita_iva part_iva p_iva piva btw_nummer btw_nr momsnummer momsregistreringsnummer
        momsreg_nr vat_nummer alv_numero alv_nro alv_tunnus numero_de_iva mva_nr mva_nummer vat_id_no
        ust_id_nummer tax_id_value stceg uid_nummer ust_uid mwst_uid uid_mwst ic_dph btw_identificatienummer
        btw_identificatie_nummer kozossegi_adoszam eu_adoszam
        | vat eu_vat uk_vat taxvat tax_number tax_no tax_identification_number tax_id_number tax_registration_number
        taxpayer_id
        tax_registration_no abn nzbn gstin gst_number gst_no ein contribuinte n_contribuinte numero_de_contribuinte
        nif cif nif_cif cif_nif nipc cnpj cpf cpf_cnpj
        cnpj_cpf id_estrangeiro documento_estrangeiro identificacao_estrangeiro id_extranjero rfc rut ruc cuit nit cvr
        cvr_nummer cvr_nr nip dic y_tunnus codice_fiscale cod_fisc cod_fis cgc cgc_cpf lictradnum tax_exempt_number
        steuer_id steuernummer adoszam vevo_adoszama adoazonosito ado_szam
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
        email_copy copy_email email_kopie cc_emails invoice_cc cc_email additional_emails
        additional_invoice_emails cc_email_addresses email_cc
        additional_email_addresses invoice_cc_addresses
    """,
    "aliases": "alias ingest_aliases other_ids",
    "metadata": "meta_data custom_fields custom_data attributes custom_attributes additional_data",
    "provider": "billing_provider source_provider",
    "provider_id": "billing_provider_id provider_customer_id",
}

# Synonyms with exactly the meaning of the field's own name. Two columns of one group are rivals: `Email` and
# `E-mail Address` mean the same, `Phone` and `Mobile` do not.
OWN_NAMES: Final[dict[str, str]] = {
    "name": "nazwa nazev nazov",
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

NO_FIELDS: Final = word_set("emailaccounts emailaccount mailaccounts mailaccount")
"""Names that only look like those of a field: how many mailboxes somebody has."""

GUESTS: Final = word_set(
    "guest attendee participant supporter constituent gast teilnehmer mieter spender patienten abonnenten"
)
"""Words for persons who may be others than the one who booked or bought."""

# Roles of an address, in order of preference. An address is taken from columns of one role.
ADDRESS_ROLES: Final = """
    customer client account contact person property properties fields user kunden kunde kund klant cliente klient
    kontakt contacto contatto cust cli kd debitor party member buyer shopper purchaser subscriber donor patient
    lid medlem medlems mitglied mitglieds jasen jasenen clen clena czlonek czlonka yhteyshenkilo yhteyshenkilon
    | billing bill_to bill_to_contact bill invoice invoicing inv payer rechnungs rechnung facturation facture
    facturacion fatturazione fac
      factuur facturatie faturamento faturacao cobranca faktura fakturerings fakturacyjny laskutus fakturacni
      fakturacna fakturacne szamlazasi fiscal fakt fact fatt
    | preferred display_contact contact_info contact_details contact_data
      guest attendee participant supporter constituent gast teilnehmer mieter spender patienten abonnenten
      default def primary main mailing mail postal po post posti communication current present purchase permanent haupt
    principal principale
      hoofd korrespondenz postale correspondance correspondencia
      corrispondenza correspondentie
    | business company organization organisation org work office hq headquarters sede_legale siege siege_social sede
    supply werk legal registered head_office physical physique fisica forretnings firmen
      geschafts visiting visit besoks besøks besogs besøgs bezoek kaynti social vestigings vestiging
    | huis home personal private privat residential residence res domicile prive
    | service site jobsite premises installation
      shipping ship_to ship delivery sold_to sold_to_contact sa liefer livraison envio spedizione consegna verzend
      aflever bezorg dodaci dodacia dorucovaci dorucovacia szallitasi entrega leverans leverings toimitus lev livr
      location
    | other alternate alternative secondary
"""

# The same behind a word, in brackets or not: `Ort geschäftlich`, `Ville (bureau)`, `Calle del trabajo`. Words → role.
ROLES_BEHIND: Final = {
    "geschäftlich geschaeftlich dienstlich büro buero bureau travail professionnel professionnelle trabajo oficina "
    "lavoro ufficio uff werk zakelijk arbete arbejde arbeid jobb comercial empresa "
    "firmowy firmowa służbowy": "business",
    "privat privato privata privado privada privé privée domicile casa particular abitazione ab thuis hem hjem "
    "residencial prywatny domowy": "home",
    "zamieszkania zameldowania residenza residencia residência": "home",
    "korespondencji korespondencyjny doręczeń": "mailing",
    "suministro instalación instalacion fornitura utenza fourniture": "supply",
    "siedziby siedziba": "business",
    "facturation facturación fatturazione facturatie faturação faturamento cobrança fakturering fakturace": "billing",
    "livraison entrega envío spedizione consegna levering lieferung dostawa dostawy": "shipping",
    "fiscal": "fiscal",
    "contact contacto contatto contato": "contactinfo",
}

ABBREVIATED_ROLES: Final = word_set("fakt fact fatt fac lev livr")
"""`Lev. by` belongs to the `Leveringsadresse`."""

BEFORE_NOUNS: Final = word_set("post posti visit social mail inv res siege current communication")
"""Words that are roles only before a noun: `Postadresse - Land`. `Visit Country` is not the country of an address."""

# What may come between a role and a word: `billing_address.city`, `Addr 1 - City`, `Default Address City`.
ADDRESS_NOUNS: Final = (
    "street_address",
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
    "domicilio",
    "adresa",
    "osoite",
    "location",
    "addressbook",
    "address_book",
    "adresses",
    "adressen",
    "direcciones",
    "indirizzi",
    "enderecos",
    "moradas",
    "domicilios",
)
SHORT_NOUNS: Final = ("dir", "adr", "dom", "end")
"""`DirPostal`, `dir_ciudad`, `dom_calle`, `end_cidade`: too short to be looked for within a name."""

# Words with this meaning only beside one of these columns: `By` is a city in a Danish table, `Via` a street in an
# Italian one.
COMPANIONS: Final = {
    "by": "postnr postnummer",
    "sted": "postnr postnummer",
    "commune": "codepostal cp adresse rue",
    "kraj": "miasto miejscowosc kodpocztowy ulica",
    "mesto": "psc ulice ulica",
    "obec": "psc ulice ulica",
    "stat": "psc ulice ulica mesto obec",
    "cim": "iranyitoszam irsz irszam varos telepules",
    "mor": "local localidade cp codpostal codigopostal",
    "local": "mor morada cp codpostal codigopostal",
    "cploc": "cp",
    "uf": "cidade municipio cep endereco",
    "cap": "citta comune indirizzo via provincia localita loc",
    "ind": "cap",
    "naz": "cap",
    "indir": "cap citta",
    "loc": "cap",
    "pr": "cap",
    "dom": "pob loc localidad cp codigopostal",
    "pob": "cp cpo dom dir prov pro",
    "end": "bairro cep",
    "mun": "bairro cep",
    "est": "bairro cep",
    "cp": (
        "ville localite commune ciudad localidad poblacion pob municipio colonia adresse adresse1 direccion domicilio "
        "calle local"
    ),
    "gate": "postnr postnummer poststed",
    "via": "cap citta comune",
    "dir": "ciudad localidad poblacion municipio provincia codigopostal codpostal postal cp telefono",
    # Attributes of LDAP (RFC 4519).
    **dict.fromkeys(("l", "c", "co"), "cn dn samaccountname"),
    "st": "cn dn samaccountname zip zipcode zipcd postal postalcode postcode",
    # Statistics of newsletters.
    **dict.fromkeys(("subscriber", "subscribed"), "opens clicks"),
    "work": "mobile cell fax pager",
    # Bare labels of numbers.
    **dict.fromkeys(("main", "home"), "mobile cell fax pager workphone homephone mobilephone"),
    # A `Flat` may be a price, a `Unit` one of a business or of measure.
    **dict.fromkeys(
        ("apartment", "unit", "flat", "floor"), "street address streetaddress address1 addressline1 street1"
    ),
    # Claims of OpenID Connect.
    "sub": "emailverified givenname",
    **dict.fromkeys(("firstline", "secondline", "lineone", "linetwo"), "city town postalcode postcode zip zipcode"),
}

FUNCTIONS: Final = word_set("fonction poste funcion cargo puesto funcao")
"""Beside one of these columns, `Département` and `Departamento` are where a person works in a company."""
DEPARTMENTS: Final = word_set("departement departamento")

# Bare words for a number or a code. They are an id only beside the name (elsewhere, `Code` may be that of a discount)
# and before the address (in which they are a house number or a postal code). Lists typed by people have line numbers:
# `No.` is an id only beside columns typical of accounting systems.
BARE_CODES: Final = word_set("code codice codigo clave cve kode kod koodi cod")
BARE_REFERENCES: Final = word_set("reference referencia referencja referenz referens referanse riferimento referentie")
"""An id only in the first column: elsewhere it may be that of an order, or a person."""
BARE_KEYS: Final = word_set("key ref refno refnr refnumber recordno recordnumber idno idnumber acct acc accno")
"""The same: elsewhere they may be those of other records."""
BARE_NUMBERS: Final = word_set("nr no nummer number numero num numer nro")
BARE_STATES: Final = {
    "stato": word_set("nazione codicenazione codnazione"),
    "estado": word_set("provincia prov departamento morada nif contribuinte nipc cif nifcif cifnif telemovel"),
}
"""Word for a state and for a status → the words beside which it is the status. `Estado` beside `UF`, and `Stato` beside
`Paese`, may be that of an address."""
BARE_TYPES: Final = word_set("type typ tipo tyyppi rodzaj")
"""A column of this name is the type of the customer in records in which it contains a word for one."""
# Other things with an id that may be in the first column of a table of customers.
OTHER_IDS: Final = word_set("""
    owner parent company organization organisation store shop site order invoice product item list campaign group team
    session transaction payment subscription plan ad adset form event lead deal ticket conversation message file row
    batch import job task project location address branch vendor supplier employee agent rep manager assigned category
    tag segment price coupon discount card device visitor click page source referrer account_owner department class
    created_by updated_by sales_rep salesperson tax vat national billing_provider gateway charge quote contract
    opportunity case issue review booking appointment reservation visit shipment delivery refund dispute license
""")
NOT_OF_A_SYSTEM: Final = OTHER_IDS | word_set("""
    primary secondary main default billing shipping parent child referrer referred referring referral referredby
    assigned assignedto previous old last first merged mergedinto master related linked original
    originating emergency guardian
    spouse household partner created createdby modified updated updatedby sales salesrep legacy former new duplicate
    responsible relationship account contact customer client person user member lead
""")
"""Words before `Contact ID` that say which contact, whereas the name of a program (`Apollo Contact Id`) says whose."""
OF_BOOKS: Final = frozenset({"tax_id", "net_terms"})

HOLDERS: Final = word_set("intestatario titular titulaire titolare contraente")
IDENTIFICATIONS: Final = word_set(
    "identificacion numeroidentificacion numerodeidentificacion noidentificacion nodeidentificacion documento "
    "numerodocumento numerodedocumento nodocumento nodedocumento documentonumero numdocumento nrodocumento"
)
TYPES_OF_IDENTIFICATION: Final = word_set(
    "tipoidentificacion tipodeidentificacion tipodocumento tipodedocumento tipodoc tipoid documentotipo dv "
    "digitoverificacion digitodeverificacion digitoverificador"
)
"""Beside one of these columns, a document is the one with the tax number: `Tipo de identificación`, `Identificación`,
`DV`."""
DOCUMENTS: Final = word_set("cuil dni nie cedula cf ci passaporto pasaporte passaporte")
"""Numbers of persons that may stand in one column with tax numbers: `CUIT / DNI`."""


class Levels(NamedTuple):
    """Names of levels of places that are beside each other in one country, and which of them are the state and the
    city."""

    all: tuple[str, ...]
    state: str
    city: str


LEVELS_OF_PLACES: Final = (
    Levels(("departamento", "provincia", "distrito"), "departamento", "provincia"),  # Peru
    Levels(("departamento", "provincia", "municipio"), "departamento", "municipio"),  # Bolivia
    Levels(("departamento", "distrito"), "departamento", "distrito"),  # Paraguay
    Levels(("departamento", "provincia", "localidad"), "provincia", "localidad"),  # Argentina
    Levels(("region", "provincia", "comuna"), "region", "comuna"),  # Chile
    Levels(("provincia", "canton"), "provincia", "canton"),  # Ecuador, Costa Rica
    Levels(("provincia", "distrito", "corregimiento"), "provincia", "distrito"),  # Panama
    Levels(("estado", "municipio", "parroquia"), "estado", "municipio"),  # Venezuela
    Levels(("distrito", "concelho"), "distrito", "concelho"),  # Portugal
)
"""A postal city beside them is used before the last ones. Source: CLDR 47 and the postal guides of these countries."""

FAXES: Final = word_set(
    "fax telefax telecopie telecopieur faks faxnumber faxno faxnr faxnummer numerofax nfax numerodefax facsimile"
)
"""Beside a word for a telephone number, in one name: `Tel./Fax`."""
IDENTIFIERS: Final = word_set("identifiant identificador identificativo identificacion identifier")
REGISTERED: Final = word_set(
    "siret siren ape naf codeape codenaf rcs formejuridique tva numtva numerotva nif cif cnae capitalsocial"
)
"""Between two of these columns, an identifier is the tax number of a company."""

CUSTOMERS: Final = word_set("customer client kunde klant kund asiakas cliente klient zakaznik")
"""Folded words for a customer: a column of this name contains the customer's name, or flags third parties that are
customers."""

# Roles of other fields, and the fields that keep their meaning with them.
ENTITY_ROLES: Final = (
    "def "
    "cust cli kd buyer shopper purchaser purchase subscriber kunden kunde kund klant cliente "
    "klient kontakt contacto contatto debitor party member donor patient "
    "lid medlem medlems mitglied mitglieds jasen jasenen clen clena czlonek czlonka yhteyshenkilo yhteyshenkilon "
    "customer client account contact person property properties fields user primary default main billing "
    "business org "
    "company organization organisation bill_to work display_contact contact_info contact_details contact_data "
    "guest attendee participant supporter constituent gast teilnehmer mieter spender patienten abonnenten"
)
FLATS: Final = word_set("""
    nrlokalu numerlokalu nrmieszkania numermieszkania lagenhetsnummer busnummer toevoeging huisnummertoevoeging
    huisnrtoevoeging toevoegselhuisnr toevoegselhuisnummer
""")
"""Words for the number of a flat, which stands by itself where the second line of the address is blank."""
MEMBERS: Final = word_set("member lid medlem medlems mitglied mitglieds jasen jasenen clen clena czlonek czlonka socio")
"""Owners of columns of persons who belong to a group, which may have a name and an address in the same records."""
ENTITY_FIELDS: Final = word_set("""
    email phone currency timezone language net_terms created_at updated_at cancel_date tax_id legal_name
    invoice_cc_emails trial_started paid_started
""")
# These tell of the record itself; the status of a user is that of a log-in, the one of a company a stage of a sale.
RECORD_ROLES: Final = "customer client account properties fields cust cli kd kunden kunde kund klant cliente klient"
RECORD_FIELDS: Final = frozenset({"status", "customer_type", "name"})

PREFERENCES: Final = ("currency", "language", "timezone", "net_terms", "tax_id")
"""Fields that may be in an object of preferences or settings."""
CODED_FIELDS: Final = word_set("status customer_type currency language timezone net_terms country state")
"""Fields whose value may be in an object beside a key: `{"id": 3, "code": "NZD", "name": "New Zealand Dollar"}`."""

# Remarks in brackets about a value, without influence on its meaning.
REMARK: Final = re.compile(
    r"(?i)\s*(?:utc|gmt|utc[+-]\d.*|gmt[+-]\d.*|local time|iso|iso[ -]?(?:8601|3166|4217).*|iso[ -]?codes?|"
    r"code iso|c[oó]digo iso|codice iso|iso-?2|e\.?164|"
    r"days?|in days|(?:in )?tagen?|(?:en )?jours|(?:en )?d[ií]as|(?:in )?giorni|(?:in )?dagen|em dias|dagar|dager|dage|"
    r"dni|dny|dnu|nap|napok|pv|"
    r"(?:pl\.|e\.?g\.|z\. ?b\.|bijv\.|bv\.|p\. ?ex\.|np\.|např\.|f\. ?eks\.|t\. ?ex\.|esim\.) *[^\W\d]{2,3}|"
    r"debitor(?:en)?|debtors?|kunden?|customers?|clients?|clientes?|klant(?:en)?|"
    r"e?s|required|optional|mandatory|pflichtfeld|obligatoire|primary|default|main|text|string|"
    r"[dmyhs]{1,4}(?:[-/.: ][dmyhs]{1,4})+|[a-z_]+/[a-z_]+)\s*"
)

# Names like that of an id, without those of other things that have a number or a code.
LIKE_ID: Final = re.compile(r"(?:\b|[a-z])I[Dd]\b|\bid\b|(?i:\b(?:no|ref|key)\b|nr\b|code|num|uid|reference)")
LIKE_OTHERS: Final = re.compile(
    "phone|fax|mobil|telef|zip|postal|postcode|plz|tax|vat|iban|bank|house|hausn|street|card|country|currency|amount|"
    "price|count|total|order|invoice|payment|coupon|promo|discount|parent|owner|session|device|ticket"
)
