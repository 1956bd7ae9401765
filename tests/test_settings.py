"""Settings: command line over environment over file over default; nothing unknown and nothing wrong starts a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from tzlocal import get_localzone_name

from fhir_server.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests gets in."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FHIR_{name.upper()}", raising=False)


def filed(folder: Path, text: str) -> Path:
    (folder / "settings.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_defaults_need_no_file(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path)
    assert settings.data == tmp_path
    assert (settings.host, settings.port, settings.workers, settings.database) == ("127.0.0.1", 8080, 1, "fhir")
    assert (settings.page_size, settings.max_page_size, settings.max_body_bytes) == (50, 500, 32 * 1024**2)
    assert (settings.mongodb_uri, settings.zone, settings.implicit_policy) == (None, get_localzone_name(), "treatment")
    assert settings.person_search
    assert settings.strictest_label
    assert settings.update_as_create
    assert settings.trusted_consent_authorities == settings.reporting_clients == frozenset()
    assert settings.public_base == "http://127.0.0.1:8080/fhir"


def test_the_nearer_source_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filed(tmp_path, 'port = 1001\nworkers = 2\nhost = "::1"\n')
    monkeypatch.setenv("FHIR_PORT", "1002")
    monkeypatch.setenv("FHIR_WORKERS", "3")
    settings = Settings.load(folder, workers=4, port=None)
    assert (settings.host, settings.port, settings.workers) == ("::1", 1002, 4)
    assert settings.public_base == "http://[::1]:1002/fhir"


def test_an_empty_variable_sets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIR_PORT", "")
    monkeypatch.setenv("FHIR_MONGODB_URI", "")
    settings = Settings.load(filed(tmp_path, "port = 1001"))
    assert (settings.port, settings.mongodb_uri) == (1001, None)


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "数据 甲"
    folder.mkdir()
    monkeypatch.setenv("FHIR_DATA", str(filed(folder, "port = 1001")))
    assert (Settings.load().data, Settings.load().port) == (folder, 1001)
    assert Settings.load(tmp_path).port == 8080  # the command line's folder is nearer


def test_sets_are_arrays_in_the_file_and_lists_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FHIR_REPORTING_CLIENTS", "Device/cdc, Device/icd10")
    settings = Settings.load(filed(tmp_path, 'trusted_consent_authorities = ["health-commission", "a"]'))
    assert settings.trusted_consent_authorities == {"health-commission", "a"}
    assert settings.reporting_clients == {"Device/cdc", "Device/icd10"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 8080", "prot"),
        ("PORT = 8080", "PORT"),
        ('data = "elsewhere"', "data"),
        ("[server]\nport = 8080", "server"),
        ("port = ", "not TOML"),
        ('port = "many"', "port"),
        ("port = 0", "port"),
        ("page_size = 501", "page_size"),
        ("page_size = 0", "page_size"),
        ('implicit_policy = "permit"', "implicit_policy"),
        ('zone = "Asia/Peking"', "zone"),
        ('zone = "../../etc/passwd"', "zone"),
        ('zone = ""', "zone"),
        ('base_url = "example.org/fhir"', "base_url"),
        ('base_url = "https://example.org/fhir?x"', "base_url"),
        ('mongodb_uri = "postgres://x"', "mongodb_uri"),
        ('database = "a.b"', "database"),
        ('trusted_consent_authorities = ["Organization/a"]', "trusted_consent_authorities"),
    ],
)
def test_a_mistake_in_the_file_stops_the_start_and_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.load(filed(tmp_path, text))


def test_a_file_that_is_no_text_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"port = 1\xff")
    with pytest.raises(SettingsError, match="not TOML"):
        Settings.load(tmp_path)


def test_a_fault_is_told_with_its_source_and_without_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIR_MONGODB_URI", "user:geheim@db")
    with pytest.raises(SettingsError) as caught:
        Settings.load(filed(tmp_path, "port = 99999"), workers=0)
    said = str(caught.value)
    assert "environment FHIR_MONGODB_URI" in said
    assert "port (" + str(tmp_path / "settings.toml") in said
    assert "workers (option)" in said
    assert "geheim" not in said


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="colour"):
        Settings.load(tmp_path, colour="red")


def test_the_public_base_has_no_trailing_slash(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, base_url="https://example.org/r4/")
    assert settings.public_base == "https://example.org/r4"


def test_repr_does_not_show_the_connection_string(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, mongodb_uri="mongodb://user:geheim@db/")
    assert "geheim" not in f"{settings!r} {settings}"


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path)
    with pytest.raises(ValidationError):
        settings.port = 1


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
