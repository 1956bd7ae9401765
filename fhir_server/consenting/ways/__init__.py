"""The ways by which a patient is asked, and proves that it is they who agree: one module each."""
