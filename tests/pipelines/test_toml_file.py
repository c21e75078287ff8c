"""Settings files and profiles that are no such files, or that no parser can take: one sentence, at once."""

from __future__ import annotations

import os
import sys
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

import pytest

import tranship
from tranship.connectors.errors import ConfigError
from tranship.pipelines import profiles, settings, toml_file


def pipe(file: Path) -> None:
    os.mkfifo(file)


def device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def large(file: Path) -> None:
    with file.open("wb") as out:
        out.truncate(20 << 20)


WRONG: dict[str, Any] = {
    "a pipe": (pipe, "is a pipe or a device"),
    "a device": (device, "is a pipe or a device"),
    "a folder": (Path.mkdir, "cannot be read (Is a directory)"),
    "large": (large, "has 20 MB"),
    "nested deeply": (
        lambda file: file.write_text(f"a = {'[' * 5000}{']' * 5000}"),
        "is not valid TOML: its values are nested too deeply",
    ),
    "a long number": (lambda file: file.write_text(f"a = {'9' * 5000}"), "is not valid TOML"),
    "not UTF-8": (lambda file: file.write_bytes(b'a = "\xff"'), "is not valid TOML"),
    "a password": (lambda file: file.write_text('[fields]\nx = "ann@acme.example'), "is not valid TOML"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_file_of_settings_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    make, words = WRONG[name]
    file = tmp_path / "wrong.toml"
    make(file)
    with pytest.raises(ConfigError) as raised:
        toml_file.read(file, "wrong.toml")
    assert str(raised.value).startswith(f"wrong.toml: {words}")
    assert "acme" not in str(raised.value)


@pytest.mark.parametrize("content", ["profile = 3", "profile = true", "profile = []"])
def test_a_profile_that_names_no_profile_below_it_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(content)
    with pytest.raises(ConfigError, match="the profile that it names is not text"):
        profiles._named(str(tmp_path / "own.toml"))


def test_a_key_in_place_of_the_name_of_a_setting_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('"sk_live_0123456789abcdef" = 1')
    for read in (profiles._named, lambda file: settings.load({}, {}, Path(file))):
        with pytest.raises(ConfigError, match="this seems to be a key") as raised:
            read(str(tmp_path / "own.toml"))
        assert "0123" not in str(raised.value)


def test_a_value_that_is_written_has_no_character_that_changes_how_others_are_shown() -> None:
    unseen = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] in "CZ"]
    unseen = [one for one in unseen if unicodedata.category(one) not in ("Cs", "Cn", "Co", "Zs")]
    text = "".join(unseen) + 'Zoë "O\'Neil" \\ 東京 🚢'
    written = toml_file.value([text, True])
    assert tomllib.loads(f"a = {written}") == {"a": [text, True]}
    assert written.isprintable()
    assert "\\u202e" in written
    assert "\\U000e0001" in written
    assert 'Zoë \\"O\'Neil\\" \\\\ 東京 🚢' in written


PATHS = ("source", "destination", "profile", "crosswalk", "state_dir")


@pytest.mark.parametrize("text", ["a\0.csv", "\ud800.csv"])
@pytest.mark.parametrize("name", PATHS)
def test_a_text_that_can_be_no_path_is_refused(name: str, text: str) -> None:
    given: Any = {"source": "in.csv", "destination": "out.csv", name: text}
    with pytest.raises(ConfigError, match="contains a character that no path can have"):
        settings.load(given, {})
    with pytest.raises(ConfigError, match="no path can have"):
        tranship.run(**given)


def test_one_of_several_sources_that_can_be_no_path_is_refused_without_the_password_of_another() -> None:
    with pytest.raises(ConfigError, match="no path can have") as raised:
        settings.load({"source": ["postgresql://ann:hunter22@db/x", "\0"], "destination": "out.csv"}, {})
    assert "hunter22" not in str(raised.value)


def test_arguments_that_can_be_no_path_are_refused() -> None:
    for call in (lambda: tranship.runs(state_dir="\0"), lambda: tranship.apply("\0"), lambda: tranship.resume("\0")):
        with pytest.raises(ConfigError, match="no path can have"):
            call()
