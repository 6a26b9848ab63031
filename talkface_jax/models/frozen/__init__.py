"""Pretrained networks whose parameters never change here."""
