"""The demo: a small portal, the app and its worker on this machine."""
