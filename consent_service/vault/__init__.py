"""How a profile stays secret: sealing, key hierarchy and blind index over bytes, without storage or clock."""
