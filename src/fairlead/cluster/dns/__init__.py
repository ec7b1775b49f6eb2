"""Cluster DNS: records from watches, answers from records, messages from answers, a program that serves them."""
