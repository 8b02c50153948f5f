"""Pages we serve: the banner's layout and the preference centre."""
