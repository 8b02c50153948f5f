"""How a decision becomes evidence: canonical bytes, Merkle log, notes and proofs, without I/O."""
