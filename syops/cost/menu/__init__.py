"""Price one network under every model of energy that is known here."""
