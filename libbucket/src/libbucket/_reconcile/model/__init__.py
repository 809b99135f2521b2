"""The values that the other rooms exchange, and the rules of the wire contract for them. Pure."""
