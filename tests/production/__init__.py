"""``make production-test``: walks the README's production section on a machine that is made for it."""
