"""python -m fhir_server: the same as fhir-facade."""

from fhir_server.cli import main

if __name__ == "__main__":
    main()
