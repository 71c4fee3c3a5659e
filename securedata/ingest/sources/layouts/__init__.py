"""Corpora that are recognised by their structure: a file for each layout, and `registry` with all of them.

A layout that names people must name the right ones, so it is recognised by names that nothing else uses, never by the
depth of folders alone: at least half of the recordings must have such names. The others are then problems, because
their speakers are unknown. SRC may be the corpus, a folder above it, or a part of it: the names of the folders above
SRC count too (`base.context_of`).

To add one:

1. Write `NAME.py` with a `base.Layout` of two functions. `count(tree)` returns how many recordings it surely names; it
   is called for every source, so it reads no file and checks rare things first. `describe(tree, described)` fills in
   `described`: the lists `subject`, `utterance`, `transcript`, `split`, `language` and `extra`, with one entry for
   each of `tree.paths`. A file whose speaker is unknown is a problem, and so is a text or a line for a recording that
   does not exist: every file is accounted for.
2. Texts and tables beside the recordings are in `tree.companion_names`, if `walk.file_kinds` knows their suffix. Read
   them with `base.Text` (lines; each kind of fault is reported once), `base.words_of` (a text for each recording) or
   `tree.origin.content`; `base.meant` finds the recording that a name in a text means.
3. If a file has several rows or several people, return the rows of a manifest: set `described.rows` to a
   `base.LayoutRows` of `manifest_reader.Rows` (offset and duration are those of a segment, `extra` is JSON text,
   `files` the table of each row for messages) and the index of each row's file. `rows.names_people` tells whether they
   name the people. `tables.TableRows` collects them.
4. If it knows transcripts but no people, pass `Layout(..., names_people=False)`, or None if that depends on its tables,
   and set `described.names_people`. It is then used together with a speaker pattern, one subject, a subject per file
   or a manifest.
5. Add it to `registry.ALL` and, with a line for `--help`, to `names.LAYOUTS`; build its tree in
   tests/kit/sources/layouts.py, describe it in docs/ingest.md, and run `python -m tests.kit.docs.clidocs`.
"""
