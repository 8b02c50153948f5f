"""One small shop in each framework: recommendations for those who said yes, best sellers for the others."""
