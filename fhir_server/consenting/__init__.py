"""The life cycle of an authorization: an institution asks, the patient proves themselves and answers, and may revoke."""
