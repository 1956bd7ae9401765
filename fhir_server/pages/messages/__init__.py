"""The page on which operators see what was sent to patients, in trials."""
