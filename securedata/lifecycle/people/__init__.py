"""Who is in a corpus, on what consent and until when; what is asked for; what can be published of it."""
