"""The values that the other rooms hand to each other, and the rules of the wire contract about them. Pure."""
