"""The words of a header tell the encoding of a file, or else the user is asked."""

from __future__ import annotations

import pytest

from tranship.connectors.files.header_encoding import by_header

_RUSSIAN = "Код клиента;Наименование;Телефон;Город\n1;ООО Ромашка;;Москва\n"
_GERMAN = "Kundennummer;Name;Straße;Länderkennzeichen\n1;Jörg Müller;Ähweg;DE\n"
_JAPANESE = "顧客コード,顧客名,電話番号,メールアドレス\n1,山田,,\n"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", _RUSSIAN),
        ("koi8_r", _RUSSIAN),
        ("cp866", _RUSSIAN),
        ("cp932", _JAPANESE),
        ("euc_jp", _JAPANESE),
        ("gb18030", "客户编号,客户名称,电话,地址,邮箱\n1,张三公司,,北京,\n"),
        ("big5", "客戶編號,客戶名稱,電話,地址\n1,張三公司,,台北\n"),
        ("cp949", "고객번호,고객명,전화번호,이메일\n1,김철수,,\n"),
        ("cp1250", "ID;Nazwa;Miejscowość;Województwo\n1;Łukasz Wąs;Łódź;śląskie\n"),
        # A customer of another country among many.
        ("cp1250", "Imię;Miejscowość;Województwo\nŻaneta Wąś;Łódź;śląskie\nBłażej;Świętośńąć;łódzkie\nJörg;Köln;\n"),
        ("mac_roman", _GERMAN),
        ("cp850", _GERMAN),
        ("mac_roman", "Code\tPrénom\tNom\tTéléphone\n1\tHervé\tZürcher\t\n"),  # two languages of Switzerland
    ],
)
def test_known_words_tell_the_encoding(encoding: str, text: str) -> None:
    assert by_header(text.encode(encoding)) == encoding
    # The sample may end within a record, and within a character.
    assert by_header((text + text).encode(encoding)[:-1]) == encoding


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("mac_roman", "id,name,city\n1,Müller,Köln\n"),
        ("cp1251", "id;name\n1;Иван\n"),
        ("cp1250", "Imię;x\nA;B\n"),  # Windows-1254 has `Imiê` there
        ("cp1250", "Miejscowość;x\nŁódź;Škoda Úř\n"),  # two alphabets
        ("cp932", "あれこれ,x\n山田,1\n"),
    ],
)
def test_without_known_words_or_with_two_readings_there_is_no_answer(encoding: str, text: str) -> None:
    assert by_header(text.encode(encoding)) is None
