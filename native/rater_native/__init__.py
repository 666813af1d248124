"""The compiled hot path; each module has a readable twin in rater."""
