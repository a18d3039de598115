"""Envoy and Istio access logs: text of any format string, JSON of any template, ALS messages and OTLP logs as JSON."""

from vzflow.readers.envoy.reader import read, recognises, recognises_format

__all__ = ["read", "recognises", "recognises_format"]
