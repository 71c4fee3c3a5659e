"""Media files as bytes: what a header says, which bytes a part needs, how they become numbers. No torch, no corpus."""
