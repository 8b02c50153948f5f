"""Programs that use the toolkit as a shop does; they belong to the checkout, not to the installed package."""
