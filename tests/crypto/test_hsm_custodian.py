"""The example of a custodian over PKCS#11, with SoftHSM 2 in the place of a device: where both are installed.

apt-get install softhsm2; pip install python-pkcs11
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fhir_server.crypto import opening
from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Unsealable, WrappedKey, Wrapping, new_key
from fhir_server.crypto.sm2 import verify

PROGRAM = Path(__file__).parents[2] / "examples" / "hsm" / "custodian.py"
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
pytestmark = pytest.mark.skipif(
    not MODULE.exists() or importlib.util.find_spec("pkcs11") is None, reason="SoftHSM 2 and python-pkcs11 are needed"
)


class Device:
    """A token of SoftHSM's, and the custodian's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "tokens").mkdir()
        (folder / "softhsm.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
        (folder / "pin").touch(0o600)
        (folder / "pin").write_text("87654321\n")
        self._environment = {**os.environ, "SOFTHSM2_CONF": str(folder / "softhsm.conf")}
        initial = ["--init-token", "--free", "--label", "fhir", "--so-pin", "12345678", "--pin", "87654321"]
        subprocess.run(["softhsm2-util", *initial], env=self._environment, check=True, capture_output=True)

    def words(self, do: str) -> list[str]:
        paths = {"--folder": "custody", "--pin-file": "pin", "--socket": "custody.sock"}
        named = [word for name, path in paths.items() for word in (name, str(self._folder / path))]
        return [sys.executable, str(PROGRAM), do, *named]

    def run(self, do: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.words(do), env=self._environment, capture_output=True, text=True, timeout=60)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have a custodian answer as long as this lasts."""
        with subprocess.Popen(self.words("serve"), env=self._environment, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                assert b"held" in process.stdout.readline()
                yield
            finally:
                process.terminate()

    def keyring(self) -> Keyring:
        return opening.opened(self._folder / "server", f"socket:{self._folder / 'custody.sock'}")


@pytest.fixture
def device(tmp_path: Path) -> Device:
    made = Device(tmp_path)
    done = made.run("init")
    assert done.returncode == 0, done.stderr
    return made


def test_master_keys_stay_in_the_device_and_do_their_work_there(device: Device, tmp_path: Path) -> None:
    assert "exists already" in device.run("init").stderr
    key = new_key()
    with device.held():
        keyring = device.keyring()
        before = Wrapping(keyring).wrap(key, b"person")
        assert device.run("rotate").returncode == 0
        after = Wrapping(keyring).wrap(key, b"person")
        assert [after.master, before.master] == list(keyring.custody.masters())
        assert verify(keyring.sm2.public_key, b"text", keyring.sm2.sign(b"text"))
    with device.held():
        again = device.keyring()
        assert (again.fingerprint, again.index_key) == (keyring.fingerprint, keyring.index_key)
        assert [Wrapping(again).unwrap(each, b"person") for each in (before, after)] == [key, key]
        for wrong in ((before, b"another"), (WrappedKey("none", before.sealed), b"person")):
            with pytest.raises(Unsealable):
                Wrapping(again).unwrap(*wrong)
    assert {path.name for path in (tmp_path / "custody").iterdir()} == {"hsm.json"}


def test_without_its_pin_the_device_stays_closed(device: Device, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("00000000")
    refused = device.run("serve")
    assert refused.returncode == 1
    assert refused.stderr == "The token fhir cannot be opened: PinIncorrect.\n"
