"""The pages of patients and of those who speak for them: what they have authorized, and who has looked at their records."""
