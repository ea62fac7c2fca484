"""Every sentence for people: states, reasons, decisions, rules and diagnostics."""
