"""The layouts by name. Apart from the code that reads them, so that the command shows them without loading it."""

from __future__ import annotations

from collections.abc import Mapping

LAYOUTS: Mapping[str, str] = {
    "audiofolder": "AudioFolder of Hugging Face: metadata.csv, .jsonl or .parquet with file_name",
    "commonvoice": "Common Voice: clips/ and train.tsv, validated.tsv and others",
    "kaldi": "data directories of Kaldi: wav.scp, segments, utt2spk and text",
    "lhotse": "Lhotse: recordings and supervisions, or cuts, in .jsonl or .jsonl.gz",
    "librispeech": "LibriSpeech: SPEAKER/CHAPTER/SPEAKER-CHAPTER-N and .trans.txt",
    "libritts": "LibriTTS: SPEAKER/CHAPTER/SPEAKER_CHAPTER_N_N and .normalized.txt",
    "ljspeech": "LJ Speech: wavs/LJNNN-NNNN and metadata.csv",
    "speechcommands": "Speech Commands: WORD/HASH_nohash_N",
    "stm": "TED-LIUM and alike: sph/ and stm/ side by side",
    "text-beside": "a .txt or .lab with the words beside each recording; a rule names the people",
    "timit": "TIMIT: TRAIN/DRN/SPEAKER/SENTENCE.WAV and .TXT",
    "vctk": "VCTK 0.92 and 0.80: wav48*/pNNN/ and txt/",
    "voxceleb": "VoxCeleb 1 and 2: idNNNNN/VIDEO/NNNNN",
}
"""Name, and what it stands for, in one line for `--help` and docs."""

CHOICES = ("auto", "none", *LAYOUTS)
