"""Stages that several methods chain."""
