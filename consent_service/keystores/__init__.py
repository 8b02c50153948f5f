"""Where root keys live: each module wraps and unwraps keys under a root key it alone can use."""
