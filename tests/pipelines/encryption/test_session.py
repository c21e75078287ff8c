"""Runs whose files with records are encrypted, through the commands and the Python API."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import duckdb
import pyrage
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

import tranship
from support.artefacts import texts
from support.postgres_server import Database
from support.state_buckets import PLACE, google_bucket
from tranship.connectors import mirrored
from tranship.connectors.errors import ConfigError, Damaged
from tranship.pipelines.cli import main as cli
from tranship.pipelines.encryption import run_files
from tranship.pipelines.retention import artefacts
from tranship.pipelines.run_directory import RunDirectory

SOURCE = """external_id,email,name,status,updated_at
1,ada@acme.example,Ada Acme,active,2026-01-01T00:00:00Z
2,bo@bolt.example,Bo Bolt,active,2026-01-01T00:00:00Z
2,bo@bolt.example,Bo Bolt,active,2025-01-01T00:00:00Z
3,broken@,Carl Crate,active,2026-01-01T00:00:00Z
4,dora@dohm.example,Dora Dohm,mystery,2026-01-01T00:00:00Z
"""
PEOPLE = re.compile("acme|bolt|crate|dohm|broken@", re.IGNORECASE)
TABLE = "duckdb:///warehouse.duckdb?table=customers"
STATE = Path(".tranship")


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipient; its identity is in key.txt, and another one in other.txt."""
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text(SOURCE)
    made = pyrage.x25519.Identity.generate()
    Path("key.txt").write_text(f"# created by age-keygen\n{made}\n")
    Path("other.txt").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    return str(made.to_public())


def readable(folder: Path = STATE) -> list[str]:
    """Return the files in which a customer is found, decoded."""
    # Bytes that are encrypted can be any words.
    plain = ((name, text) for name, text in texts(folder) if not text.startswith("age-encryption.org/v1\n"))
    return sorted({name for name, text in plain if PEOPLE.search(unescape(text))})


def customers() -> list[tuple[object, ...]]:
    with duckdb.connect("warehouse.duckdb") as there:
        return there.sql("SELECT external_id, email, name, status FROM customers ORDER BY 1").fetchall()


def loaded(key: str) -> RunDirectory:
    report = tranship.run("in.csv", TABLE, encrypt_to=key)
    assert report.counts.rejected
    return RunDirectory.at(Path(report.run_dir))


def test_no_customer_is_found_in_the_files_of_a_run_that_has_ended(key: str) -> None:
    assert readable(Path(tranship.run("in.csv", TABLE, state_dir="plain").run_dir).parent.parent)
    run = loaded(key)
    assert readable() == []
    assert (run.path / "rejects.parquet.age").read_bytes().startswith(b"age-encryption.org/v1")
    for file in (path for path in run.path.rglob("*") if path.is_file()):
        kind = artefacts.of_run(file.relative_to(run.path).as_posix())
        assert kind is not None
        assert file.suffix == ".age" or kind.keeps != "records", file
        assert file.stat().st_mode & 0o777 == 0o600
    (listed,) = tranship.runs()
    assert listed.counts is not None
    assert listed.counts.read == 5


def test_the_report_names_the_files_as_they_are_now(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = tranship.run("in.csv", TABLE, encrypt_to=key)
    assert all(Path(file).exists() for file in report.files.values())
    assert report.files["rejects"].endswith(".age")
    assert cli.main(["report", "last"]) == 0
    assert ".age" in capsys.readouterr().out


def test_a_run_that_was_stopped_by_a_limit_is_encrypted(key: str) -> None:
    with pytest.raises(tranship.GateClosed) as stopped:
        tranship.run("in.csv", TABLE, encrypt_to=key, max_rejects=0)
    assert readable() == []
    assert stopped.value.report is not None
    assert all(Path(file).exists() for file in stopped.value.report.files.values())


@pytest.mark.parametrize(
    "command", [["undo", "last"], ["fix", "last"], ["retry", "last"], ["verify", "last"]], ids=lambda given: given[0]
)
def test_without_the_key_a_sentence_names_the_option(
    key: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    loaded(key)
    before = sorted(STATE.rglob("*.age"))
    assert cli.main(command) == 2
    assert "its records are encrypted" in (said := capsys.readouterr().err)
    assert "--identity FILE" in said
    assert sorted(STATE.rglob("*.age")) == before


def test_an_undo_with_the_key_does_what_it_does_without_encryption(key: str) -> None:
    tranship.run("in.csv", TABLE, encrypt_to=key)
    before = customers()
    Path("in.csv").write_text(SOURCE.replace("Ada Acme", "Ada Acme-Dohm"))
    tranship.run("in.csv", TABLE, encrypt_to=key)
    assert customers() != before
    undone = tranship.undo(identity="key.txt")
    assert undone.counts.updated == 1
    assert customers() == before
    assert readable() == []
    # The undo is a run like any other, encrypted to the same key.
    tranship.undo(undone.run_id, identity="key.txt")
    assert customers() != before
    assert readable() == []


def test_rejects_are_corrected_with_the_key(key: str) -> None:
    run = loaded(key)
    given = tranship.fix(run.run_id, out="rejects.csv", identity="key.txt")
    assert given.rows == 1
    assert readable() == []
    Path("rejects.csv").write_text(Path("rejects.csv").read_text().replace("broken@", "carl@crate.example"))
    done = tranship.fix(run.run_id, "rejects.csv", identity="key.txt")
    assert (done.fixes.loaded, done.fixes.open) == (1, 0)
    assert ("3", "carl@crate.example", "Carl Crate", "active") in customers()
    assert readable() == []
    # The run and the one that loaded its rejects belong together: both are decrypted.
    with pytest.raises(ConfigError, match="has no open rejects"):
        tranship.fix(run.run_id, out="again.csv", identity="key.txt")
    assert readable() == []


def test_the_command_after_the_rejects_were_written_names_the_option(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = loaded(key)
    assert cli.main(["fix", "last", "--out", "rejects.csv", "--identity", "key.txt"]) == 0
    assert f"tranship fix {run.run_id} --identity FILE --from rejects.csv" in capsys.readouterr().err


def test_a_page_links_to_the_files_as_they_are(key: str) -> None:
    run = loaded(key)
    tranship.plan("in.csv", TABLE, out="move", encrypt_to=key)
    for page in (run.path / "report.html", Path("move/report.html"), Path("move/plan.html")):
        links = set(re.findall(r'href="([^#"]+)"', page.read_text()))
        assert any(link.endswith(".age") for link in links), page
        assert [link for link in links if not (page.parent / link).exists()] == [], page


def test_a_plan_is_applied_with_the_key(key: str) -> None:
    planned = tranship.plan("in.csv", TABLE, out="move", encrypt_to=key)
    assert readable(Path("move")) == []
    assert planned.files["changes"].endswith(".age")
    with pytest.raises(ConfigError, match="cannot be applied without the key"):
        tranship.apply("move")
    assert tranship.apply("move", identity="key.txt", expect=planned.plan_digest).counts.created == 3
    assert len(customers()) == 3
    assert readable(Path("move")) == []


def test_a_run_is_verified_with_the_key(key: str) -> None:
    loaded(key)
    assert tranship.verify(run="last", identity="key.txt").equal
    assert readable() == []


def test_a_run_that_was_killed_is_continued_by_the_same_command_and_then_encrypted(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = loaded(key)
    run_files.open_again(run, [pyrage.x25519.Identity.from_str(Path("key.txt").read_text().split()[-1])], Path())
    run.manifest["status"] = "running"
    run.manifest["steps"].pop("apply")
    run.save()
    assert readable()
    again = tranship.run("in.csv", TABLE, encrypt_to=key)
    assert again.run_id == run.run_id
    assert readable() == []


def test_a_run_that_was_killed_is_encrypted_once_a_later_one_has_succeeded(key: str) -> None:
    run = loaded(key)
    run_files.open_again(run, [pyrage.x25519.Identity.from_str(Path("key.txt").read_text().split()[-1])], Path())
    run.manifest["status"] = "running"
    run.save()
    Path("in.csv").write_text(SOURCE.replace("Ada Acme", "Ada Bolt"))
    assert tranship.run("in.csv", TABLE, encrypt_to=key).run_id != run.run_id
    assert readable() == []


def test_a_key_that_does_not_fit_and_damaged_files_are_refused(key: str) -> None:
    run = loaded(key)
    with pytest.raises(ConfigError, match=r"--identity other\.txt: has no key to which .*\.age was encrypted"):
        tranship.undo(identity="other.txt")
    assert readable() == []
    file = run.path / "rejects.parquet.age"
    whole = file.read_bytes()
    for damaged in (whole[:-3], whole[:40], b"", whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]):
        file.write_bytes(damaged)
        with pytest.raises(Damaged, match=r"rejects\.parquet\.age: was changed or damaged"):
            tranship.fix(out="rejects.csv", identity="key.txt")
        assert readable() == []
    file.unlink()
    with pytest.raises(Damaged, match=r"rejects\.parquet\.age: is gone"):
        tranship.fix(out="rejects.csv", identity="key.txt")
    assert readable() == []
    file.write_bytes(whole)
    assert tranship.fix(out="rejects.csv", identity="key.txt").rows == 1


def test_a_secret_key_in_place_of_a_public_one_is_refused_and_not_repeated(
    key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = Path("key.txt").read_text().split()[-1]
    run = ["run", "in.csv", TABLE]
    Path("pipeline.toml").write_text(f'source = "in.csv"\ndestination = "{TABLE}"\nencrypt_to = ["{secret}"]\n')
    for command in (
        *([*run, "--encrypt-to", secret], [*run, "--encrypt-to", secret.lower()], ["run", "pipeline.toml"]),
        ["undo", "last", "--identity", secret],
    ):
        assert cli.main(command) == 2
        said = "".join(capsys.readouterr())
        assert "secret key of age" in said
        assert secret[16:].lower() not in said.lower()
    monkeypatch.setenv("TRANSHIP_ENCRYPT_TO", secret)
    assert cli.main(run) == 2
    assert secret[16:] not in "".join(capsys.readouterr())
    assert not STATE.exists() or not (STATE / "runs").exists()


@pytest.mark.parametrize(
    ("recipient", "said"),
    [
        ("hello", "is not a public key"),
        ("age1notakey", "the recipient is not a public key of age"),
        ("ssh-ed25519 AAAA", "the recipient is not a public key of age"),
    ],
)
def test_a_wrong_recipient_is_refused_before_anything_is_read(key: str, recipient: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tranship.run("missing.csv", TABLE, encrypt_to=recipient)
    assert not STATE.exists()


def test_what_cannot_be_combined_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="report_samples on cannot be combined with encrypt_to"):
        tranship.run("in.csv", TABLE, encrypt_to=key, report_samples="on")
    with pytest.raises(ConfigError, match="--encrypt-to: cannot be combined with --engine sail"):
        tranship.run("in.csv", TABLE, encrypt_to=key, engine="sail")
    monkeypatch.setitem(__import__("sys").modules, "pyrage", None)
    with pytest.raises(tranship.MissingDriver, match=r"pip install 'tranship\[encrypt\]'"):
        tranship.run("in.csv", TABLE, encrypt_to=key)
    assert not STATE.exists()


def test_an_erasure_needs_the_key_and_says_what_it_could_not_search(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = loaded(key)
    assert cli.main(["erase", "--external-id", "2"]) == 4
    assert "stage/000000.parquet.age: is encrypted, so it was not searched." in (said := capsys.readouterr().err)
    assert "Nothing was found in the files that could be searched." in said
    assert cli.main(["erase", "--email", "bo@bolt.example", "--identity", "key.txt"]) == 0
    assert "Erased" in capsys.readouterr().err
    assert readable() == []
    run = RunDirectory.at(run.path)
    run_files.open_again(run, [pyrage.x25519.Identity.from_str(Path("key.txt").read_text().split()[-1])], Path())
    assert not [name for name, text in texts(run.path) if "bolt" in text.lower()]
    assert [name for name, text in texts(run.path) if "acme" in text.lower()]


def test_an_erasure_searches_a_plan_elsewhere_with_the_key(key: str) -> None:
    loaded(key)
    tranship.plan("in.csv", TABLE, out="move", encrypt_to=key)
    erase = ["erase", "--external-id", "2", "--plan", "move"]
    assert cli.main(erase) == 4
    assert cli.main([*erase, "--identity", "key.txt"]) == 0
    assert RunDirectory.at(Path("move")).manifest["erased"]
    assert readable(Path("move")) == readable() == []


def test_prune_needs_no_key(key: str) -> None:
    run = loaded(key)
    assert cli.main(["prune", "--values", "0h"]) == 0
    assert not [*run.path.rglob("*.age")]
    with pytest.raises(ConfigError, match="its records were removed"):
        tranship.undo(identity="key.txt")
    assert cli.main(["prune", "--keep", "0h"]) == 0
    assert not run.path.exists()


def test_several_recipients_of_which_one_is_an_ssh_key(key: str) -> None:
    made = ed25519.Ed25519PrivateKey.generate()
    form = (serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    Path("id_ed25519").write_bytes(made.private_bytes(serialization.Encoding.PEM, *form))
    public = made.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    tranship.run("in.csv", TABLE, encrypt_to=[key, public.decode()])
    assert readable() == []
    for identity in ("key.txt", "id_ed25519"):
        assert tranship.verify(run="last", identity=identity).equal
    assert readable() == []


def test_a_settings_file_and_the_environment_name_the_key(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("pipeline.toml").write_text(f'source = "in.csv"\ndestination = "{TABLE}"\nencrypt_to = ["{key}"]\n')
    assert cli.main(["run", "pipeline.toml"]) == 4
    assert readable() == []
    monkeypatch.setenv("TRANSHIP_IDENTITY", "key.txt")
    assert cli.main(["fix", "last", "--out", "rejects.csv"]) == 0
    assert tranship.undo().counts.deleted == 3
    assert readable() == []


@pytest.mark.slow
def test_a_state_directory_in_a_bucket_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with google_bucket(monkeypatch), pytest.raises(ConfigError, match="works with a state directory on this machine"):
        tranship.run("in.csv", TABLE, encrypt_to=key, state_dir=PLACE)
    mirrored.close()


@pytest.mark.slow
def test_a_run_to_a_provider_is_retried_listed_and_taken_back_with_the_key(key: str) -> None:
    Path("in.csv").write_text(
        "id,email,name,country,created_at\n1,ada@acme.example,Ada Acme,US,2026-01-01\n"
        "2,bo@bolt.example,Bo Bolt,,2026-01-01\n"
    )
    with tranship.sandbox("growpanel") as there:
        failed = tranship.run("in.csv", there.address, encrypt_to=key)
        assert (failed.counts.created, failed.counts.refused) == (1, 1)
        assert (Path(failed.run_dir) / "journal.sqlite.age").exists()
        assert readable() == []
        for forbidden in (lambda: tranship.changes(failed.run_id), lambda: tranship.retry(failed.run_id)):
            with pytest.raises(ConfigError, match="--identity FILE"):
                forbidden()
        assert tranship.changes(failed.run_id, identity="key.txt")["action"].to_list() == ["create"]
        again = tranship.retry(failed.run_id, identity="key.txt")
        assert (again.counts.read, again.counts.refused) == (1, 1)
        # The records of a retry are files of the first run.
        assert tranship.retry(again.run_id, identity="key.txt").counts.read == 1
        assert readable() == []
        undone = tranship.undo(failed.run_id, identity="key.txt", remove_for_good=True)
        assert undone.counts.deleted == 1
        assert readable() == []


@pytest.mark.slow
def test_a_run_to_a_provider_that_stops_at_its_limit_is_resumed_with_the_key(key: str) -> None:
    Path("in.csv").write_text(
        "id,email,name,country,created_at\n1,ada@acme.example,Ada Acme,US,2026-01-01\n"
        "2,bo@bolt.example,Bo Bolt,US,2026-01-01\n"
    )
    with tranship.sandbox("growpanel") as there:
        begun = tranship.run("in.csv", there.address, encrypt_to=key, limit=1)
        assert (begun.status, begun.counts.created) == ("partly_done", 1)
        assert readable() == []
        with pytest.raises(ConfigError, match="cannot be continued without the key"):
            tranship.resume()
        assert tranship.resume(identity="key.txt").counts.created == 2
        assert readable() == []


@pytest.mark.slow
def test_later_runs_know_without_the_key_what_earlier_ones_wrote_to_a_provider(key: str) -> None:
    rows = "id,email,name,created_at\n1,ada@acme.example,Ada Acme,2026-01-01\n"
    Path("in.csv").write_text(rows + "2,bo@bolt.example,Bo Bolt,2026-01-01\n")
    mirror = {"mode": "mirror", "max_deletes": 5, "remove_for_good": True}
    with tranship.sandbox("metronome", seed=3) as there:
        tranship.run("in.csv", there.address, encrypt_to=key)
        Path("in.csv").write_text(rows)
        # Only what earlier runs wrote may be removed, which is known from the crosswalk.
        again = tranship.run("in.csv", there.address, encrypt_to=key, **mirror)
        assert (again.counts.unchanged, again.counts.deleted) == (1, 1)
        assert readable() == []


def test_an_undo_in_postgres_with_the_key(key: str, every_postgres_database: Database) -> None:
    address = f"{every_postgres_database.url}?table=customers"
    tranship.run("in.csv", address, encrypt_to=key)
    Path("in.csv").write_text(SOURCE.replace("Ada Acme", "Ada Acme-Dohm"))
    assert tranship.run("in.csv", address, encrypt_to=key).counts.updated == 1
    assert readable() == []
    undone = tranship.undo(identity="key.txt")
    assert (undone.counts.updated, undone.exit_code) == (1, 0)
    assert tranship.changes(undone.run_id)["action"].to_list() == ["update"]
    assert readable() == []
