"""Where sealed objects are stored. Storage sees only ciphertext and knows nothing about formats and keys."""
