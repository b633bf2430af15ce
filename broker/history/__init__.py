"""Reading the temporal evolutions of entities from their history."""
