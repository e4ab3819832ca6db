"""Backends that live outside fastnn."""
