"""Joins readers, identity, model, store and report by passing plain values between them."""
