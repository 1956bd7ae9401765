"""AuditEvents: what was disclosed, refused and changed, to whom, on which Consent's word; stored before the answer leaves."""
