"""Every collection that holds keys wrapped by the master key: what a rotation wraps anew and a backup needs a master for."""

from fhir_server.auth.server.signing import owner_of
from fhir_server.auth.server.vault import SIGNING_KEYS
from fhir_server.store.keys import KEYS, bound_to
from fhir_server.store.rewrapping import WrappedIn

WRAPPED = (WrappedIn(KEYS, bound_to), WrappedIn(SIGNING_KEYS, owner_of))
