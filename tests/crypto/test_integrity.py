"""Integrity of the program: each way in which a file or a distribution differs is found and named."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import py_compile
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fhir_server.cli import app
from fhir_server.crypto.integrity import (
    PACKAGES,
    Differences,
    IntegrityError,
    Measured,
    Program,
    differences,
    elsewhere,
    installed,
    measured,
    opened,
    signature_of,
)
from fhir_server.crypto.sm2 import new_signer, private_of, public_of, public_pem, sm3
from fhir_server.settings import Settings

RECORD = "demo-1.0.dist-info/RECORD"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A program of two packages, with data, and an environment of one distribution."""
    package, other, site = (tmp_path / name for name in ("ours", "data", "site"))
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "decide.py").write_text("def permitted():\n    return False\n")
    (package / "inner" / "table.json").write_text('{"a": 1}')
    other.mkdir()
    (other / "列表.txt").write_text("x")
    (site / "demo-1.0.dist-info").mkdir(parents=True)
    (site / "demo.py").write_text("safe = True\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"safe = True\n").digest()).rstrip(b"=").decode()
    (site / RECORD).write_text(f"demo.py,sha256={digest},12\n{RECORD},,\n")
    (site / "demo-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: Demo\nVersion: 1.0\n")
    return Program({"ours": package, "data": other}, (str(site),))


def site(program: Program) -> Path:
    return Path((program.site or ("",))[0])


def decide(program: Program) -> Path:
    return program.packages["ours"] / "inner" / "decide.py"


def test_a_manifest_names_every_file_and_distribution(program: Program) -> None:
    made = measured(program)
    assert made.files == tuple(
        Measured(path, len(content), sm3(content).hex())
        for path, content in (
            ("data/列表.txt", b"x"),
            ("ours/__init__.py", b""),
            ("ours/inner/decide.py", b"def permitted():\n    return False\n"),
            ("ours/inner/table.json", b'{"a": 1}'),
        )
    )
    assert made.environment == {"demo==1.0": sm3((site(program) / RECORD).read_bytes()).hex()}
    assert not differences(made, program)


def changed(program: Program) -> None:
    decide(program).write_text("def permitted():\n    return True \n")


def added(program: Program) -> None:
    (program.packages["ours"] / "inner" / "_speedups.so").write_bytes(b"\x7fELF")


def missing(program: Program) -> None:
    (program.packages["ours"] / "inner" / "table.json").unlink()


def linked_folder(program: Program) -> None:
    os.symlink(site(program), program.packages["ours"] / "more")


def linked_file(program: Program) -> None:
    elsewhere = site(program) / "elsewhere.py"
    elsewhere.write_text("def permitted():\n    return True\n")
    decide(program).unlink()
    os.symlink(elsewhere, decide(program))


def bytecode(program: Program) -> None:
    """The source stays, and Python runs what was compiled from another one."""
    source, mirror = decide(program), site(program) / "other.py"
    mirror.write_text("def permitted():\n    return True\n")
    now = source.stat()
    cached = Path(importlib.util.cache_from_source(source))
    cached.parent.mkdir()
    py_compile.compile(str(mirror), cfile=str(cached))
    content = cached.read_bytes()
    header = int(now.st_mtime).to_bytes(4, "little") + now.st_size.to_bytes(4, "little")
    cached.write_bytes(content[:8] + header + content[16:])


def cut_bytecode(program: Program) -> None:
    py_compile.compile(str(decide(program)))
    cached = Path(importlib.util.cache_from_source(decide(program)))
    cached.write_bytes(cached.read_bytes()[:20])


def of_the_environment(program: Program) -> None:
    (site(program) / "demo.py").write_text("safe = False")


def removed_of_the_environment(program: Program) -> None:
    (site(program) / "demo.py").unlink()


def record(program: Program) -> None:
    """The list goes with the file: it tells of no change, and so is listed itself."""
    of_the_environment(program)
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"safe = False").digest()).rstrip(b"=").decode()
    (site(program) / RECORD).write_text(f"demo.py,sha256={digest},12\n{RECORD},,\n")


def new_distribution(program: Program) -> None:
    folder = site(program) / "evil-2.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 2.0\n")


def no_distribution(program: Program) -> None:
    (site(program) / "demo-1.0.dist-info" / "METADATA").rename(site(program) / "METADATA")
    (site(program) / "demo-1.0.dist-info").rename(site(program) / "demo")


@pytest.mark.parametrize(
    ("happens", "found"),
    [
        (changed, Differences(changed=("ours/inner/decide.py",))),
        (added, Differences(added=("ours/inner/_speedups.so",))),
        (missing, Differences(missing=("ours/inner/table.json",))),
        (linked_folder, Differences(added=("ours/more",))),
        (linked_file, Differences(changed=("ours/inner/decide.py",))),
        (bytecode, Differences(changed=("ours/inner/decide.py",))),
        (cut_bytecode, Differences(changed=("ours/inner/decide.py",))),
        (of_the_environment, Differences(changed=("demo==1.0: demo.py",))),
        (removed_of_the_environment, Differences(changed=("demo==1.0: demo.py",))),
        (record, Differences(changed=("demo==1.0",))),
        (new_distribution, Differences(added=("evil==2.0",))),
        (no_distribution, Differences(missing=("demo==1.0",))),
    ],
)
def test_what_differs_is_found(program: Program, happens: Callable[[Program], None], found: Differences) -> None:
    made = measured(program)
    happens(program)
    assert differences(made, program) == found
    assert len(list(found.lines())) == 1


def test_python_itself_is_named(program: Program) -> None:
    made = replace(measured(program), python="3.11.0-other")
    assert any(name.startswith("Python 3.11.0-other, which is") for name in differences(made, program).changed)


def test_bytecode_that_python_wrote_is_no_difference(program: Program) -> None:
    made = measured(program)
    py_compile.compile(str(decide(program)))
    foreign = decide(program).parent / "__pycache__" / "decide.cpython-39.pyc"
    foreign.write_bytes(b"of another Python, which this one does not run")
    assert not differences(made, program)


def test_a_manifest_is_believed_as_it_was_signed_and_under_its_key(program: Program) -> None:
    signer, other = new_signer(), new_signer()
    content = measured(program).encoded()
    signature = signature_of(content, signer)
    assert opened(content, signature, signer.public_key) == measured(program)
    for manifest, signed, key in (
        (content.replace(b"decide", b"decode"), signature, signer.public_key),
        (content + b" ", signature, signer.public_key),
        (content, signature, other.public_key),
        (content, signature_of(content, other), signer.public_key),
        (content, b"", signer.public_key),
        (content, b"!\n", signer.public_key),
    ):
        with pytest.raises(IntegrityError, match="not signed with this key"):
            opened(manifest, signed, key)
    later = json.dumps({**json.loads(content), "format": 2}).encode()
    with pytest.raises(IntegrityError, match="another version"):
        opened(later, signature_of(later, signer), signer.public_key)


def test_long_lists_are_cut() -> None:
    lines = list(Differences(added=tuple(f"file {number}" for number in range(50))).lines())
    assert (len(lines), lines[-1]) == (21, "added: 30 more")


def command(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(app, list(words), env=environment)


def test_the_operator_makes_a_key_once(tmp_path: Path) -> None:
    made = command("integrity", "key", str(tmp_path / "key.pem"))
    assert made.exit_code == 0, made.output
    private, public = tmp_path / "key.pem", tmp_path / "key.pem.pub"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private_of(private.read_bytes()).public_key == public_of(public.read_bytes())
    before = private.read_bytes()
    again = command("integrity", "key", str(private))
    assert isinstance(again.exception, IntegrityError)
    assert private.read_bytes() == before


def test_a_server_that_is_not_as_it_was_signed_does_not_start(tmp_path: Path) -> None:
    """The manifest of the program that runs the tests, in which one file is other, one missing and one not named."""
    command("integrity", "key", str(tmp_path / "key"))
    public, data = tmp_path / "key.pub", tmp_path / "var"
    unsigned = command("serve", "--data", str(data), FHIR_INTEGRITY_KEY=str(public))
    assert isinstance(unsigned.exception, IntegrityError)
    assert "fhir-facade integrity sign" in str(unsigned.exception)
    signed = command("integrity", "sign", "--key", str(tmp_path / "key"), "--data", str(data))
    assert signed.exit_code == 0, signed.output
    content = (data / "integrity.json").read_bytes()
    said = opened(content, (data / "integrity.json.sig").read_bytes(), public_of(public.read_bytes()))
    assert {"fhir_server/app.py", "consent_engine/__init__.py", "terminology/__init__.py"} <= {
        each.path for each in said.files
    }
    assert any(name.startswith("cryptography==") for name in said.environment)
    others = tuple(each for each in said.files if each.path not in ("fhir_server/app.py", "fhir_server/cli.py"))
    gone, other = Measured("fhir_server/gone.py", 0, "00"), Measured("fhir_server/app.py", 1, "00")
    spoiled = replace(said, files=(*others, gone, other)).encoded()
    (data / "integrity.json").write_bytes(spoiled)
    signer = private_of((tmp_path / "key").read_bytes())
    (data / "integrity.json.sig").write_bytes(signature_of(spoiled, signer))
    refused = command("serve", "--data", str(data), FHIR_INTEGRITY_KEY=str(public))
    assert isinstance(refused.exception, IntegrityError)
    lines = str(refused.exception).splitlines()
    assert {"changed: fhir_server/app.py", "added: fhir_server/cli.py", "missing: fhir_server/gone.py"} <= {*lines}
    verified = command("integrity", "verify", "--key", str(public), "--data", str(data))
    assert verified.exit_code == 1
    assert "changed: fhir_server/app.py" in verified.output
    assert not (data / "keyring.json").exists()


def test_another_installation_is_verified_from_here(tmp_path: Path) -> None:
    """A program that cannot even start cannot verify itself, and one that was changed may say what it likes."""
    site, signer = tmp_path / "there", new_signer()
    for name in PACKAGES:
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text("")
    (tmp_path / "key.pub").write_bytes(public_pem(signer.public_key))
    content = measured(elsewhere(site)).encoded()
    (tmp_path / "signed.json").write_bytes(content)
    (tmp_path / "signed.json.sig").write_bytes(signature_of(content, signer))

    def verified() -> Result:
        signed = ("--key", str(tmp_path / "key.pub"), "--manifest", str(tmp_path / "signed.json"))
        return command("integrity", "verify", *signed, "--site", str(site), "--data", str(tmp_path))

    assert verified().output == "3 files and 0 distributions are as they were signed.\n"
    (site / "fhir_server" / "__init__.py").unlink()
    (site / "consent_engine" / "more.py").touch()
    found = verified()
    assert found.exit_code == 1
    assert found.output == "added: consent_engine/more.py\nmissing: fhir_server/__init__.py\n"


@pytest.mark.parametrize("content", [b"", b"no key"])
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    for words in (("sign",), ("verify",)):
        done = command("integrity", *words, "--key", str(tmp_path / "key"), "--data", str(tmp_path))
        assert isinstance(done.exception, IntegrityError)
        missing = command("integrity", *words, "--key", str(tmp_path / "nothing"), "--data", str(tmp_path))
        assert isinstance(missing.exception, IntegrityError)


def test_the_setting_is_off_by_default(tmp_path: Path) -> None:
    assert Settings.load(tmp_path).integrity_key is None
    assert {"fhir_server", "consent_engine", "terminology"} == installed().packages.keys()
