"""Automation rules of the CRM that start callbacks, and the results that they wait for."""
