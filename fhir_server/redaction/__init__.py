"""What of a record a requester is not shown: masked elements and hidden sections (consent.md, D18)."""
