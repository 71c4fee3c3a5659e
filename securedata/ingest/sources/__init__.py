"""Where recordings come from: folders, URLs, shards, manifests, layouts, and the people in them."""
