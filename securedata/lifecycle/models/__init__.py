"""Models that were trained with recordings of a person: looked for, on its own or before an erasure."""
