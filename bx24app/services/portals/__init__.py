"""A portal's installation: launches, tokens, bindings, lines, settings, and calling its REST."""
