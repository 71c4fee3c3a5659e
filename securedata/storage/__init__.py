"""Where sealed objects lie. Storage sees ciphertext only and knows nothing of formats and keys."""
