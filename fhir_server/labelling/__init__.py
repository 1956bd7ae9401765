"""The labelling service: sensitivity labels from the codes that a resource holds (HL7 DS4P, "Security Labeling Service")."""
