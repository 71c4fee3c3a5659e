"""The layouts by name, without the code that reads them, so that the command can list them without loading it."""

from __future__ import annotations

from collections.abc import Mapping

LAYOUTS: Mapping[str, str] = {
    "audiofolder": "Hugging Face AudioFolder: metadata.csv, .jsonl or .parquet with file_name",
    "commonvoice": "Common Voice: clips/ and train.tsv, validated.tsv and others",
    "kaldi": "Kaldi data directories: wav.scp, segments, utt2spk and text",
    "lhotse": "Lhotse: recordings and supervisions, or cuts, in .jsonl or .jsonl.gz",
    "librispeech": "LibriSpeech: SPEAKER/CHAPTER/SPEAKER-CHAPTER-N and .trans.txt",
    "libritts": "LibriTTS: SPEAKER/CHAPTER/SPEAKER_CHAPTER_N_N and .normalized.txt",
    "ljspeech": "LJ Speech: wavs/LJNNN-NNNN and metadata.csv",
    "speechcommands": "Speech Commands: WORD/HASH_nohash_N",
    "stm": "TED-LIUM and similar: sph/ and stm/ side by side",
    "text-beside": "a .txt or .lab with the words beside each recording; a rule must name the speakers",
    "timit": "TIMIT: TRAIN/DRN/SPEAKER/SENTENCE.WAV and .TXT",
    "vctk": "VCTK 0.92 and 0.80: wav48*/pNNN/ and txt/",
    "voxceleb": "VoxCeleb 1 and 2: idNNNNN/VIDEO/NNNNN",
}
"""Name -> a line for `--help` and docs."""

CHOICES = ("auto", "none", *LAYOUTS)
