"""The customer of a callback in the portal's CRM."""
