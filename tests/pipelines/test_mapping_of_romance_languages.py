"""Names of columns in French, Spanish, Italian and Portuguese, of programs and of raw tables of their databases."""

from __future__ import annotations

import pytest

from tranship.connectors.contract import Layout
from tranship.pipelines.mapping import ColumnMap, propose
from tranship.pipelines.settings_model import Reading
from tranship.schemas.headers import match

NAMES = {
    "external_id": (
        "Clave cliente;CVE_CLIE;Cód. cliente;CodCli;Nº cliente;N.º de cliente;Nro. Cliente;Cod. anagrafica;N° client;"
        "Réf. client;Code tiers;N° adhérent;Nº de socio;Cód. do cliente;codigo_cliente;cd_cli"
    ),
    "tax_id": (
        "CNPJ/CPF;CPF ou CNPJ;CNPJ - CPF - ID Estrangeiro;CNPJ do cliente;N.I.F.;CIF/NIF/NIE;CIF o NIF;Nº NIF;"
        "N.º Contribuinte;NumContribuinte;Num_Contrib;R.F.C.;RFC del cliente;CUIT/CUIL;CUIT / DNI;C.U.I.T.;"
        "RUT Cliente;NIT o cédula;Número de identificación fiscal;Identificación fiscal;P. IVA;Part. IVA;"
        "P.Iva / Cod. Fiscale;Cod. Fisc.;N° TVA;N° TVA intra.;n_tva_intra;CGC"
    ),
    "email": "Correo-e;Mail cliente;Indirizzo e-mail;Endereço de e-mail;Email contact;Correo de contacto;correo2",
    "phone": (
        "Teléfono fijo;Tel. móvil;Tfno.;Tlfno;Tél. portable;Tél. bureau;Cell.;Telemóvel;Fone comercial;Celular;"
        "telefono2;telefone1_numero;Téléphone secondaire"
    ),
    "address_line1": (
        "Domicilio;Domicilio fiscal;Dirección postal;Indirizzo postale;Calle y nº;Via e numero;"
        "Via/Piazza;Sede legale - Indirizzo;Indirizzo di fatturazione;Endereço de cobrança;Morada fiscal;Logradouro;"
        "dir_calle;end_rua;sede.indirizzo"
    ),
    "address_line2": "Morada2;Complemento;Adresse ligne 2;Complément d'adresse",
    "city": (
        "Localidad;Localidade;Località;Población;Ciudad fiscal;Comune;Município;DirPostalCiudad;dir_poblacion;end_cidade;"
        "domicilio.localidad;sede.comune"
    ),
    "state": "Prov.;Provincia fiscal;Estado/Provincia;Regione;Región;Département;DirPostalProvincia;address.department",
    "zip_code": "Código Postal;Cod. Postal;CEP;Codigo postal fiscal;DirPostalCodigoPostal;endereco.cep;address.postal",
    "country": "País;Nazione;Nação;Cód. país;Code pays;DirPostalPais",
    "language": "Idioma;Langue;Lingua;pref_lang",
    "currency": "Moneda;Divisa;Moeda;Devise;Valuta",
    "status": "Situação;Situación;Statut;Estatus;Estado del cliente",
    "net_terms": (
        "Cond. pago;Cond. pagamento;Condição de pagamento;Conditions de paiement;Délai de paiement (jours);"
        "Plazo de pago (días);Días de crédito;DIASCRED;Prazo pagamento (dias);Dias de prazo"
    ),
    "created_at": (
        "F. alta;Fec. alta;Fecha registro;Fecha ingreso;Data cadastro;DtCadastro;Criado em;Data inserimento;Créé le;"
        "Date d'inscription;Data de admissão;date_crea"
    ),
    "updated_at": "Última modificación;Data última alteração;Atualizado em;Modificato il;Dernière modification",
    "cancel_date": "Fecha de baja;F. baja;Data de cancelamento;Data disdetta;Date de résiliation",
    "customer_type": "Tipo persona;Tipo de pessoa;Type client;Tipologia cliente",
    "billing_contact_email": "Email facturación;E-mail financeiro;E-mail cobrança;Email amministrazione",
    "none": (
        "codigoEmpresa;Código proveedor;Codice fornitore;Code commercial;Código vendedor;Codice destinatario;"
        "Codice univoco;Codice SDI;Codice ufficio;Inscrição Estadual;IE;RG;CURP;Documento;Identificación;"
        "Tipo de documento;Taux TVA;Code TVA;SIRET;SIREN;Code APE;RCS;PEC;Posta certificata;WhatsApp;Fax;Télécopie;"
        "Colonia;Bairro;Freguesia;Concelho;Estado;Stato;Forma de pago;Modalità di pagamento;Mode de règlement;"
        "Días de pago;Dia de pagamento;Giorno di pagamento;Échéance;Límite de crédito;Encours;Alta;"
        "Fecha nacimiento;Data di nascita;Última compra;Vendedor;Agente;Cuenta contable;Compte comptable;"
        "Conta contábil;end_state;director;Dir;direct_debit"
    ),
}


@pytest.mark.parametrize(
    ("column", "field"), [(column, field) for field, columns in NAMES.items() for column in columns.split(";")]
)
def test_a_name_alone_has_its_meaning(column: str, field: str) -> None:
    assert (list(match([column], {})) or ["none"]) == [field]


def mapped(header: str) -> ColumnMap:
    return propose([Layout("in.csv", tuple(header.split(";")))], Reading(source="in.csv"))


HEADERS = {
    "id_adh;nom_adh;prenom_adh;societe_adh;adresse_adh;cp_adh;ville_adh;pays_adh;gsm_adh;email_adh;id_statut;pref_lang": (
        "external_id=id_adh, name=societe_adh|prenom_adh+nom_adh, zip_code=cp_adh, phone=gsm_adh, language=pref_lang"
    ),
    "CT_Num;CT_Intitule;CT_Contact;CT_Adresse;CT_CodePostal;CT_Ville;CT_Ape;CT_Identifiant;CT_Siret;N_Devise": (
        "external_id=CT_Num, name=CT_Intitule, tax_id=CT_Identifiant, currency="
    ),
    "CODCLI;NOMCLI;NIFCLI;DOMCLI;POBCLI;CPCLI;TELCLI;EMAILCLI": (
        "external_id=CODCLI, name=NOMCLI, tax_id=NIFCLI, address_line1=DOMCLI, city=POBCLI, zip_code=CPCLI"
    ),
    "id_client;nom_client;prenom_client;adresse_client;ville_client": "name=prenom_client+nom_client, city=ville_client",
    "IdCliente;NombreCliente;ApellidoCliente;CiudadCliente;NitCliente": (
        "external_id=IdCliente, name=NombreCliente+ApellidoCliente, tax_id=NitCliente"
    ),
    "AN_CODICE;AN_RAGSOC;AN_INDIRIZZO;AN_CAP;AN_CITTA;AN_PROV;AN_PIVA": (
        "external_id=AN_CODICE, name=AN_RAGSOC, tax_id=AN_PIVA, zip_code=AN_CAP"
    ),
    "cd_cli;rag_soc;ind;cap;loc;pr;p_iva": "address_line1=ind, city=loc, state=pr, zip_code=cap",
    "A1_COD;A1_LOJA;A1_NOME;A1_END;A1_BAIRRO;A1_EST;A1_MUN;A1_CEP;A1_DDD;A1_TEL;A1_CGC;A1_EMAIL": (
        "external_id=, address_line1=A1_END, state=A1_EST, city=A1_MUN, phone=A1_DDD+A1_TEL, tax_id=A1_CGC"
    ),
    "id;razao_social;endereco;endereco_numero;telefone1_ddd;telefone1_numero;email": (
        "address_line1=endereco+endereco_numero, phone=telefone1_ddd+telefone1_numero"
    ),
    "CLAVE;STATUS;NOMBRE;RFC;CALLE;NUMEXT;COLONIA;CODIGO;MUNICIPIO;ESTADO;DIAPAGO;DIASCRED;MAIL": (
        "external_id=CLAVE, address_line1=CALLE+NUMEXT, net_terms=DIASCRED, state=ESTADO, status=STATUS"
    ),
    "IdCliente;RazonSocial;DirPostal;DirPostalCiudad;DirFiscal;DirFiscalCiudad": (
        "address_line1=DirFiscal|DirPostal, city=DirFiscalCiudad|DirPostalCiudad"
    ),
    "Usuario;Clave;Nombre;Email": "external_id=, name=Nombre",
    "Email;Clave;Nombre": "external_id=",
    "Nombre;RFC;Calle;Colonia;Municipio;C.P.;Email": "city=Municipio, zip_code=C.P.",
    "Email;Nombre;Municipio;Ciudad": "city=Ciudad",
    "Tipo de identificación;Identificación;DV;Razón social;Nombres;Apellidos;Correo": (
        "tax_id=Identificación, external_id=, name=Razón social|Nombres+Apellidos"
    ),
    "Nombres;Apellidos;Cédula;Correo": "name=Nombres+Apellidos, tax_id=",
    "Nome;Apelidos;E-mail": "name=Nome+Apelidos",
    "Apellido y Nombre;DNI;Domicilio;Localidad;Mail": "name=Apellido y Nombre",
    "Nº Sócio;Nome completo;Morada;Localidade;Distrito;NIF;Estado": "external_id=Nº Sócio, status=Estado, state=Distrito",
    "Nome;Razão social;CNPJ;E-mail": "name=Razão social|Nome, billing_contact_name=",
    "Nome;Razão social;CNPJ;E-mail;Nome de contato": (
        "name=Razão social|Nome|Nome de contato, billing_contact_name=Nome de contato"
    ),
    "Nombre;Razón social;Cargo;Email": "name=Razón social|Nombre, billing_contact_name=Nombre",
    "Email;Nombre de facturación;Apellidos de facturación;Empresa de facturación": (
        "name=Empresa de facturación|Nombre de facturación+Apellidos de facturación"
    ),
    "Razón social;Nombre contacto;Apellidos contacto;Email": "billing_contact_name=Nombre contacto+Apellidos contacto",
    "Identifiant;Nom;SIRET;Email": "external_id=Identifiant, tax_id=",
    "dati_anagrafici.denominazione;dati_anagrafici.partita_iva;sede.indirizzo;sede.numero_civico;contatti.email": (
        "name=dati_anagrafici.denominazione, address_line1=sede.indirizzo+sede.numero_civico, email=contatti.email"
    ),
    "cliente.nombre;cliente.email;cliente.documento.tipo;cliente.documento.numero;cliente.domicilio.calle": (
        "tax_id=cliente.documento.numero, address_line1=cliente.domicilio.calle"
    ),
    "Code tiers;Nom du tiers;Numéro de TVA;État": "external_id=Code tiers, name=Nom du tiers, status=",
    "name;email;address_id;first_name;last_name;user_name;company_name": "city=, external_id=",
}


@pytest.mark.parametrize(("header", "expected"), HEADERS.items())
def test_columns_are_read_by_what_is_beside_them(header: str, expected: str) -> None:
    found = mapped(header)
    rules = {name: str(rule).replace(" | ", "|").replace(" + ", "+") for name, rule in found.built.items()}
    wanted = dict(part.split("=") for part in expected.split(", "))
    assert {name: (rules | found.fields).get(name, "") for name in wanted} == wanted


def test_days_of_payment_are_said() -> None:
    found = mapped("codcliente;nombre;diaspago")
    assert '"diaspago" may contain days of the month.' in "".join(found.notes)
    assert "may contain days" not in "".join(mapped("codcliente;nombre;diaspago;dias_credito").notes)


def test_a_password_is_a_secret_behind_a_suffix_and_in_short() -> None:
    found = mapped("id_adh;nom_adh;login_adh;mdp_adh;ville_adh")
    assert "mdp_adh" not in found.extra
    assert '"mdp_adh" contains a secret' in "".join(found.notes)
