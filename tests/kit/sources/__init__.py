"""What tests seal.

- `recordings`: audio in memory, and clips, which are files of it with their columns
- `folders`: files below a folder, and manifests
- `layouts`: trees of known corpora
- `shards`: tars, Parquet and Arrow
- `ffmpeg`: what only FFmpeg reads
"""
