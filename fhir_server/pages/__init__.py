"""Pages for people: sign-in, second factor, choice of patient, approval. Server-rendered, Chinese first, no script."""
