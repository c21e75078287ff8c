"""Words of column names in thirteen languages, found in the labels of business systems.

What `header_words.py` says of a word precedes; here are the further ones.

Sources: our own, compared with the labels of customers, contacts and addresses in the translations that
`header_phrases.py` names, as of 2026-11.
"""

from __future__ import annotations

from typing import Final

from tranship.schemas.header_scripts import Part
from tranship.schemas.header_words import word_set

LABELS: Final[dict[str, str]] = {
    "external_id": """
        klantencode identyfikator_klienta identifikator_zakaznika id_clena id_miembro
    """,
    "email": """
        correos_electronicos courriels adresy_email emaily emaile e_maily e_maile e_mailova_adresa adres_mailowy
        adres_emailowy adres_e_mailowy id_email identifiant_email id_de_email correio_electronico direccion_email
        endereco_email endereco_eletronico endereco_de_e_mail e_mail_osoite
        courrier_electronique
        | firma_e_post
        |
        | drugi_mail mail_dodatkowy
    """,
    "name": """
        nome_del_cliente klientens_namn kundens_namn kundens_navn kunde_navn kundes_navn jmeno_zakaznika
        nazev_zakaznika jmeno_klienta nazev_klienta nazwisko_klienta
        | anzeigename anzeige_name nom_affiche nom_d_affichage nombre_mostrado nombre_a_mostrar nome_visibile
        nome_visualizzato nome_de_exibicao nome_exibido nome_a_apresentar weergavenaam schermnaam visningsnamn
        visningsnavn vist_navn nazwa_wyswietlana wyswietlana_nazwa zobrazovany_nazev zobrazovane_jmeno zobrazene_jmeno
        voller_name vollstandiger_name nom_complet nombre_completo nome_completo volledige_naam fullstandigt_namn
        hela_namnet fulde_navn fullt_navn fult_navn cele_jmeno plne_jmeno pelne_imie
        | organizacion organizzazione organizacao organizacja organizace organisasjon societa compagnie compania
        companhia selskab selskabsnavn selskap selskapsnavn foretak foretaksnavn bolag bolagsnamn spolecnost
        nazev_spolecnosti nazev_firmy nazev_organizace nazwa_organizacji nazwa_spolki name_der_firma
        name_des_unternehmens name_der_organisation nom_compagnie nom_de_compagnie nom_de_la_compagnie
        nom_de_l_organisation nom_organisation nom_de_l_organisme nombre_de_empresa nombre_de_compania
        nombre_de_la_compania nombre_de_la_organizacion nome_della_ditta nome_ditta nome_societa nome_della_societa
        nome_organizzazione nome_da_organizacao nome_organizacao nome_companhia nome_da_companhia
        naam_van_de_organisatie organisatienaam organisatie organisationsnamn organisationens_namn organisasjonsnavn
        foretagets_namn bolagets_namn virksomhedens_navn firmaets_navn firmabenaming ditta organisationnamn
        jmeno_spolecnosti unternehmensbezeichnung
        | kontrahent odberatel
    """,
    "customer_type": """
        tipo_de_clientes type_klienta rodzaj_klienta typ_zakaznika klantsoort soort_klant soort_relatie
    """,
    "phone": """
        telefonni_cislo telefonni_cisla numer_telefonu numer_tel nr_telefonu cislo_telefonu numero_di_tel
        numero_del_telefono numero_do_telefone numero_de_telefone n_di_telefono contato_telefonico telefono_di_contatto
        telef
        | mobilfunknummer mobilfunk mobilrufnummer mobiltelefonnummer n_mobile numero_mobile numero_movil n_movil
        no_movil numero_de_movil numero_de_telefono_movil numero_di_cellulare numero_cellulare n_cellulare
        numero_de_telemovel nr_telemovel nr_de_telemovel n_telemovel numero_de_celular numero_celular telefone_celular
        telefone_movel mobieltelefoonnummer mobiele_nummer mobieltje mobilnr mobilni mobilni_cislo_telefonu przenosny
        urzadzenie_mobilne telefon_przenosny movel
        | arbetstelefon foretagstelefon jobbtelefon arbejdstelefon arbeidstelefon firmatelefon telefon_biurowy
        telefon_sluzbowy telefon_do_zamestnani kontorstelefon geschaftstelefon firmentelefon telefon_kontor
        telefon_kantoor telefon_biuro telefoon_kantoor telefone_escritorio telefono_ufficio bureautelefoon tel_pro
        telephone_pro
        | hemtelefon hjemmetelefon privattelefon telefon_privat telefon_domowy telefon_domu huistelefoon thuistelefoon
        tel_perso telephone_perso tel_personnel
    """,
    "address_line1": """
        linha_de_endereco_1 linha_1_do_endereco linea_de_direccion_1 riga_di_indirizzo_1 ligne_d_adresse_1
        adressezeile_1 adresszeile_1 adressrad_1 adresslinje_1 adresregel_1
        | strassenadresse straatadres gatuadress_1 gateadresse_1 nombre_de_la_calle nom_de_la_voie voie nombre_calle
        adres_ulicy ulica_i_numer ulice_a_cislo ulice_a_cislo_popisne gade_og_nummer gate_vei vei veinavn
        straat_en_huisnummer straat_en_nummer nome_della_via nome_da_rua via_e_numero calle_y_numero rua_e_numero
        rue_et_numero gata_och_nummer
        | vollstandige_adresse adresse_complete direccion_completa indirizzo_completo endereco_completo volledig_adres
        volledige_adres fulde_adresse full_adresse fullstendig_adresse fullstandig_adress pelny_adres kompletny_adres
        cela_adresa uplna_adresa complete_address direccao postadres adres_pocztowy postovni_adresa
        addresse
    """,
    "address_line2": """
        direccion_postal_segunda_linea riga_di_indirizzo_2 linea_2_indirizzo gatuadress_rad_2 gateadresse_linje_2
        strasse_2_zeile druga_linia_adresu dodatek_adresowy
        linha_de_endereco_2 linha_2_do_endereco linea_de_direccion_2 ligne_d_adresse_2 adressezeile_2
        adresszeile_2 adresslinje_2 adresregel_2
        | appartement appartment apartamento appartamento appartamento_piano apartado_piso piso_puerta appt_batiment
        appartement_busnr apt_suite apto_ofc cislo_bytu cislo_patra_bytu complemento_endereco adresse_tilfojelse
        adressetillegg numer_mieszkania_lokalu
    """,
    "city": """
        ciudad_poblacion ville_commune staden tatort miasto_miejscowosc mesto_obec obec byen
    """,
    "state": """
        provinz prowincja provins federal_state fed_state estado_federal state_fed bundesstaat wojewodztwo_prowincja
        delstat estado_fed
        | condado comte contea landkreis grevskap lan distrito
        | regiao
    """,
    "zip_code": """
        postleitzahl_plz kod_postalny postni_smerovaci_cislo codigo_postal_cp codice_cap cap_codice_postale
        smerovaci_cislo zip_psc postni_kod
    """,
    "country": """

        | stat
        |
        | landskode
        | laenderkennung landerkennung laendercode landercode laender_id lander_id landeskennzeichen landeskuerzel
        kod_zeme id_zeme id_kraju id_pais id_paese identifiant_pays pays_id landkode kod_panstwa
    """,
    "currency": """
        waehrungscode wahrungscode wahrungskurzel munteenheid munt valutakode valutakod kod_meny kod_waluty
        moneda_principal divisa_moneda moneta fakturowa_waluta kundvaluta
        | invoice_currency rechnungswährung rechnungswaehrung fakturavaluta factuurvaluta
    """,
    "timezone": """
        tidzon tidssone strefa_czasowa casova_zona casove_pasmo zona_horario zona_oraria
    """,
    "language": """
        lenguaje linguaggio linguagem landinstelling spraak ustawienia_regionalne
    """,
    "net_terms": """
        giorni_credito credit_dagen jours_de_credit jours_credit dias_de_plazo dni_kredytu
        | termes_de_paiement termes_paiement termino_de_pago termino_pago plazos_de_pago plazos_pago
        termine_di_pagamento termine_pagamento termo_de_pagamento termo_pagamento prazos_de_pagamento prazos_pagamento
        betaalvoorwaarde betaalvoorwaarden betalingstermijnen betalningsvillkoren betalningstid platebni_podminky
        platebni_termin splatnost_dnu termin_zaplaty zasady_platnosci betalingstermer termini_di_pagamento_cliente
        betalningsvillkor_for_kunder betalingsbetingelser_for_kunder vilkar_for_kundebetaling
    """,
    "created_at": """
        hinzugefuegt_am hinzugefugt_am hinzugefugt agregado_el agregado creacion creation cree_a creato criado criada
        criado_a criada_em aggiunto_il aggiunto adicionado data_de_adicao data_adicao ora_creazione hora_creacion
        toegevoegd gemaakt gemaakt_op datum_toegevoegd skapandedatum skapades skapande datum_for_skapande tilfojet_den
        tilfojet tilfoyd dato_lagt_til dato_oprettet dato_opprettet opprettet_pa oprettet_pa lagt_til dodano dodane
        utworzony utworzona utworzono_w utworzone czas_utworzenia klient_od zakaznik_od zakaznikem_od pridano
        pridano_dne vytvoreno_v vytvoreno_dne zalozeno datum_zalozeni datum_pridani registro_criado registro_creado
        data_aggiunta data_de_inclusao fecha_agregado fecha_de_adicion dato_tilføjet orario_creazione
        creato_a utworzono_o oprettet_kl skapad_klockan
        | anmeldedatum registrierungsdatum registrering registreringsdatum registreringsdato registrerings_dato
        registrerings_datum datum_registrace data_rejestracji date_d_enregistrement fecha_de_registro
        data_di_registrazione registratiedatum inscrit_depuis kunde_seit_dem client_depuis_le cliente_desde_el
        registreringdato
    """,
    "updated_at": """
        letztes_update zuletzt_aktualisiert_am zuletzt_geaendert_am zuletzt_geandert_am mise_a_jour_le mise_a_jour
        derniere_mise_a_jour_le mis_a_jour_a ultima_actualizacion_el ultima_actualizacion_en ultimo_aggiornamento_il
        aggiornato_il aggiornato_al atualizado ultima_atualizacao_em atualizado_pela_ultima_vez_em laatst_bijgewerkt
        laatst_bijgewerkt_op bijgewerkt_op sist_oppdatert siste_oppdatering sidst_opdateret sidst_opdateret_den
        senest_opdateret sidste_opdatering senaste_uppdatering senast_uppdaterad_den aktualizovano posledni_aktualizace
        ostatnio_zaktualizowany ostatnio_zaktualizowano zaktualizowany ultima_vez_actualizado
        ultima_actualizacion_realizada naposledy_aktualizovano ostatnia_aktualizacja
        aggiornato_a opdateret_kl mise_a_jour_a zaktualizowano_o
        | modifie modifie_a derniere_modification_le modificado modificado_el modificado_en modificado_em modificada
        ultima_modificacion_el ultima_modificacion_en ultima_modificacao_em ultima_modifica_il modificato modificata
        modificado_por_ultimo ultima_mudanca hora_modificacao hora_modificacion orario_modifica
        ultima_fecha_de_modificacion ultima_data_de_modificacao ultima_data_de_alteracao a_ultima_data_de_alteracao
        data_ultima_modifica datum_letzte_anderung datum_letzte_aenderung letzte_aktualisierung
        date_de_derniere_modification bewerkt aangepast aangepast_op laatste_wijzigingsdatum laatst_aangepast
        sist_endret_dato siste_endringsdato sist_endret_den endringsdato aendringsdatoen andringsdatum andringsdatoen
        andrad_tid seneste_aendring_dato senaste_andringsdatum senast_redigerad modifierad modifierad_den zmodyfikowano
        zmodyfikowany zmienione zmieniono czas_modyfikacji ostatnio_modyfikowano ostatnio_zmienione
        data_ostatniej_modyfikacji data_ostatniej_aktualizacji data_ostatniej_zmiany data_modyfikacji upraveno zmeneno
        modifikovano naposled_zmeneno naposled_upraveno naposledy_upraveno naposledy_zmeneno posledni_uprava
        posledni_zmena datum_posledni_zmeny datum_zmeny datum_upravy latest_modification_date date_last_modified
    """,
    "tax_id": """
        intra_community_vat_id intracommunity_vat_id intracommunautair_btw_nummer
        innergemeinschaftliche_umsatzsteuer_id id_de_iva_intracomunitario id_do_iva_intracomunitario id_de_iva id_iva
        id_do_iva cif_intra moms_id mva_id kundens_momsnummer numer_vat nr_vat numer_vat_ue identifikator_dph dic_dph
        cislo_dph vat_kod identificatienummer_btw btw_identificatienummer btw_identifier numero_di_partita_iva
        numero_partita_iva mwst_steuer_id vat_tax_id moms_skatt_id
        | steueridentifikation steueridentifikator steueridentifikationsnummer identification_fiscale
        identifiant_fiscal identifiant_taxe numero_d_identification_fiscale numero_fiscal identificacion_fiscal
        identificacion_del_impuesto id_del_impuesto id_impuesto identificador_tributario identificador_fiscal
        numero_de_identificacion_fiscal identificativo_fiscale identificatore_fiscale identificatore_tassa
        numero_identificazione_fiscale identificador_de_tributo numero_de_identificacao_fiscal numero_contribuinte
        belastingnummer belasting_identificatie fiscaal_nummer skattenummer skatte_id skattenr
        skatteregistreringsnummer skatt_identifikator identyfikator_podatkowy identyfikator_podatku id_fiskalny
        numer_identyfikacji_podatkowej numer_nip nr_nip numer_podatkowy danove_cislo danove_identifikacni_cislo id_dane
        cvr_se_nummer cvr_se_nr regon_nip p_iva_cod_fis partita_iva_codice_fiscale
    """,
    "billing_contact_email": """
        e_mail_facture email_de_facturas email_facturas correo_electronico_de_facturas email_fattura email_fatura
        email_de_fatura email_de_cobranca e_mail_pro_fakturu rekening_e_mail e_mail_de_facture factuuremail
        faktura_e_mail email_de_la_factura
    """,
}
"""Field → words, in levels separated by `|`, as in `header_words.WORDS`."""

NAMES_OF_LABELS: Final[dict[Part, str]] = {
    "first": """
        nome_proprio nombre_propio prenom_usuel krestni_jmeno roepnaam tilltalsnamn prenoms vornamen voornamen imiona
    """,
    "middle": """
        second_prenom deuxieme_nom drugie_imie prostredni_jmeno druhe_jmeno andra_namn middennaam midden_naam
    """,
    "last": """
        nachnamen apelidos cognomi nazwiska familiennamen ultimos_apellidos efternamnet nom_famille
    """,
    "full": """
        vorname_nachname vorname_und_nachname nachname_vorname voornaam_achternaam fornavn_etternavn fornavn_efternavn
        fornavn_navn fornamn_namn fornamn_efternamn nome_apelido voller_name hela_namnet fult_navn cele_jmeno
        plne_jmeno cognome_nome jmeno_prijmeni
    """,
    "contact": """
        personne_a_contacter persona_di_riferimento riferimento_cliente gesprachspartner contacteer_naam
        contactar_pessoa pessoa_contacto pessoa_contato contactnaam nazwa_kontaktu nazwa_kontaktowa jmeno_kontaktu
        kontaktni_jmeno glowna_osoba_kontaktowa kontaktpersoon primar_kontakt hlavni_kontakt
    """,
    "company": """
        organizacion organizzazione organizacao organizacja organizace organisasjon societa compagnie compania
        companhia selskab selskabsnavn selskap selskapsnavn foretak foretaksnavn bolag bolagsnamn spolecnost
        nazev_spolecnosti nazev_firmy nazev_organizace nazwa_organizacji organisationsnamn organisasjonsnavn
        organisatienaam
    """,
    "display": """
        anzeige_name nom_affiche nombre_mostrado nome_visibile nome_de_exibicao nome_exibido nome_a_apresentar
        weergavenaam schermnaam vist_navn nazwa_wyswietlana wyswietlana_nazwa zobrazovany_nazev zobrazovane_jmeno
        zobrazene_jmeno
    """,
}
"""The part of a name (`person_names.py`) → words."""

ROLES_OF_LABELS: Final[dict[str, str]] = {
    "versand verzending verzendings expedicion expedicao expedition expedizione forsendelses forsendelse frakt dostawy "
    "dostawa dorucovaci doruceni wysylki": "shipping",
    "fakturacni fakturering rozliczeniowy factura fattura fatura faktury": "billing",
    "korespondencyjny": "mailing",
}
"""Words before a word of an address → role."""
BEHIND_OF_LABELS: Final[dict[str, str]] = {
    "kontor kantoor biuro kancelář escritório": "business",
    "hjemme domácí osobní": "home",
    "correspondência correspondencia": "mailing",
    "rechnungsanschrift rechnungsadresse factuuradres rozliczenia rozliczeniowy": "billing",
    "versand versandanschrift lieferanschrift lieferadresse verzending dodávky doručení dodání wysyłki expedición "
    "afleveradres": "shipping",
}
"""The same behind a word, as in `header_words.ROLES_BEHIND`."""
IN_BRACKETS: Final[dict[str, str]] = {
    "factura facture fattura fatura faktura faktury rechnung factuur": "billing",
    "envio lieferung delivery dostawa": "shipping",
}
"""The same only in brackets: `País (Factura)`. Without them, `Estado factura` is the status of an invoice."""
COMPANIONS_OF_LABELS: Final = {
    "obec": "psc ulice",
    "stat": "psc mesto obec ulice postnr postnummer poststed postort",
    "lan": "postnr postnummer postort",
    "dodano": "miasto miejscowosc kodpocztowy ulica nip nazwa imie nazwisko",
    "distrito": "localidade concelho morada",
}
"""Words with this meaning only beside one of these columns, as in `header_words.COMPANIONS`."""
SPELLINGS: Final = {"lan": ("län", "lan")}
"""Folded word → its spellings, where another one is another word: `Lån` is a loan."""
ELSEWHERE: Final = {
    "kraj": ("state", frozenset(["psc", "mesto", "obec", "zeme"])),
    "stat": ("state", frozenset(["postnr", "postnummer", "poststed", "postort"])),
}
"""Word → its field in another language, and the columns that show that it is in that one: `Kraj` beside `PSČ`."""

PARTS_OF_COUNTRIES: Final = word_set("""
        amt bundesland canton cantone comte comunidad concelho condado contea county delstat departamento departement
        departements dept distrito dpt estado estadofederal etat fylke kanton kommune kraj lan okres okrug powiat
        province provincia provincias provincie provins provinz prowincja regiao regio region regione staat stan stat
        state stato statofederale uf wojewodztwo
    """)
"""Folded words for a part of a country, of which two beside each other are the state: `Stat/provins`."""
WITHOUT_DEPARTMENTS: Final = frozenset(["provincia", "uf", "estado", "province", "region"])
"""Words for states in countries that have no departments: beside them, a `Departamento` is that of a company,
unless there is a `Distrito`, as in Peru."""
