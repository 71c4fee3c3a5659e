"""Which recordings a model was trained with: records beside models, and the search for a person in them."""
