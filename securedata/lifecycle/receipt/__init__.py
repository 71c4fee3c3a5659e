"""Receipts of erasures: signed by the operator's key, and checkable by anyone who has its public half."""
