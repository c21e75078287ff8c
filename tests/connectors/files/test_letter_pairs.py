"""The letters of a text and their neighbours tell its encoding, or else a person is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tranship.connectors.errors import ConfigError
from tranship.connectors.files import locating
from tranship.connectors.files.csv import CsvSource
from tranship.connectors.files.csv_dialect import CsvOptions
from tranship.connectors.files.letter_pairs import read
from tranship.connectors.files.text_encoding import sniff_encoding

CZECH = "Květná 3;Žďár nad Sázavou\nNárodní 28;Praha\nSlovanská 112;Plzeň\nMostecká 71;Brno\n"
SLOVAK = "Štefánikova 9;Bratislava\nHlavná 12;Košice\nĽubomír Čierny;Žilina\nNámestie SNP;Banská Štiavnica\n"
POLISH = "Żeromskiego 52;Łódź\nPaweł Świątek;Kraków\nZakład Ślusarski Dąbek;Wrocław\nGrażyna Wójcik;Gdańsk\n"
HUNGARIAN = "Kőszegi Ágnes;Győr\nSzűcs Gergő;Hódmezővásárhely\nTóth Béla;Gyöngyös\nFő tér 1;Székesfehérvár\n"
CROATIAN = "Ivan Kovačić;Čakovec\nAna Šimić;Požega\nĐurđica Župan;Đakovo\nMarko Jurišić;Šibenik\n"
GERMAN = "Wümme Segelmacherei;Köln\nJörg Prüßmann;Göttingen\nKästner & Söhne;Weißenburg\nÄrztehaus Süd;Fürth\n"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1250", CZECH),
        ("iso8859_2", CZECH),
        ("cp852", CZECH),
        ("cp1250", SLOVAK),
        ("iso8859_2", SLOVAK),
        ("cp1250", POLISH),
        ("iso8859_2", POLISH),
        ("cp1250", HUNGARIAN),
        ("cp1250", CROATIAN),
        ("cp1254", "Ayşe Yılmaz;İstanbul\nMehmet Çağlar;Eskişehir\nGülşen Öztürk;Muğla\nIşıl Şahin;Diyarbakır\n"),
        (
            "cp1257",
            "Šarūnas Žukauskas;Panevėžys\nRūta Kazlauskienė;Šiauliai\nŽydrūnas Čepas;Telšiai\nJānis Bērziņš;Rīga\n",
        ),
        ("cp1252", GERMAN),
        ("cp850", GERMAN),
        ("mac_roman", GERMAN),
        ("cp1252", "Hélène Lefèvre;Genève\nFrançois Crêpy;Besançon\nLoïc Guérin;Mâcon\nSté Bâti Côte;Nîmes\n"),
        ("cp1252", "José Muñoz;A Coruña\nMª Ángeles Peña;Cádiz\nÍñigo Núñez;Logroño\nAsunción Ibáñez;Málaga\n"),
        ("cp1252", "João Conceição;São Paulo\nInês Magalhães;Guimarães\nLuís Araújo;Évora\nSimões & Irmãos;Covilhã\n"),
        ("cp1252", "Søren Kjær;Ærøskøbing\nÅse Bråthen;Tromsø\nØystein Sæther;Bodø\nKøbmand Nørgård;Aabenraa\n"),
        ("cp1252", "Åsa Hägglund;Göteborg\nÖrjan Bäckström;Malmö\nMikaela Öst;Växjö\nVäinö Hämäläinen;Jyväskylä\n"),
        ("cp1252", "Forlì Arredi;Forlì\nNicolò Conà;Cantù\nPerché Società;San Donà\nMosè Università;Città\n"),
        ("cp1251", "Иван Петров;Москва\nАнна Иванова;Казань\nОльга Сидорова;Пермь\nООО Ромашка;Тверь\n"),
        ("koi8_r", "Иван Петров;Москва\nАнна Иванова;Казань\nОльга Сидорова;Пермь\nООО Ромашка;Тверь\n"),
        # A few customers of other countries.
        ("cp1250", POLISH * 2 + "Köpenicker Straße;Berlin\nJosé Álvarez;Málaga\n"),
        ("cp1252", GERMAN * 3 + "Hélène Lefèvre;Genève\nDvořák\n".replace("ř", "r")),
    ],
)
def test_letters_and_their_neighbours_tell_the_encoding(encoding: str, text: str) -> None:
    data = ("id;name\n" + text).encode(encoding)
    found = read(data, {}, is_western=sniff_encoding(data) == "cp1252")
    assert found.encoding is not None
    assert data.decode(found.encoding) == data.decode(encoding)


@pytest.mark.parametrize(
    ("hint", "encoding"),
    [("x@banel.ro;RO", "cp1250"), ("x@banel.pt;PT", "cp1252"), ("+40 21 312 3456;", "cp1250")],
)
def test_countries_decide_where_the_letters_do_not(hint: str, encoding: str) -> None:
    data = f"id;name;email;x\n1;Bănel;{hint}\n2;Sărbu;{hint}\n".encode("cp1250")
    assert read(data, {}, is_western=True).encoding == encoding


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1255", "דוד כהן;חיפה\nרות לוי;אילת\nשרה מזרחי;ירושלים\n" * 9),
        ("cp1256", "محمد;القاهرة\nفاطمة;دمشق\nيوسف;بغداد\n" * 9),
    ],
)
def test_other_alphabets_are_not_taken_for_a_known_one(encoding: str, text: str) -> None:
    assert read(text.encode(encoding), {}, is_western=False).encoding is None


def test_two_possible_readings_ask_with_a_word_in_each(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes("id,name\n1,Bănel\n".encode("cp1250"))
    with pytest.raises(ConfigError, match=r'--encoding cp1252 +"Bãnel"\n.*--encoding cp1250 +"Bănel"'):
        CsvSource(locating.expand(str(path), (".csv",)), CsvOptions()).layouts()


def test_a_likely_reading_is_noted_with_the_other(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes("id,name\n1,Giosuè\n".encode("cp1252"))
    notes = " ".join(CsvSource(locating.expand(str(path), (".csv",)), CsvOptions()).layouts()[0].notes)
    assert 'encoding Windows-1252; look whether a word is rather "Giosuč" (--encoding cp1250)' in notes
