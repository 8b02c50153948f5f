"""One file a released schema, never edited afterwards."""
