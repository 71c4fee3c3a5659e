"""Where recordings come from: walks, manifests, layouts, and the people in them."""
