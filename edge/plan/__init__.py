"""Proposals checked by plain code; the minimum-risk manoeuvre."""
