"""What `retain` and `export --to-corpus` share: how a corpus is filled with what was made from another one."""
