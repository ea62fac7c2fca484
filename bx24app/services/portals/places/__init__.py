"""The places of a portal where the app appears: what it has of the manifest, and the smart processes it has chosen."""
