"""Corpora that are known by their structure: a file for each layout, `registry` with all of them.

A layout that names people must name the right ones, so it is recognised by names that nothing else uses, never by a
folder's depth alone: at least half of the recordings have to have them. The others are then problems, for nobody says
who speaks in them. SRC may be the corpus, a folder above it, or a part of it: the names of the folders above SRC are
read too (`base.context_of`).

To add one:

1. Write `NAME.py` with a `base.Layout` of two functions. `count(tree)` says how many recordings it surely names; it is
   called for every source, so it reads no file, and looks for what is rare first. `describe(tree, described)` fills in
   `described`: the lists `subject`, `utterance`, `transcript`, `split`, `language` and `extra`, one entry a recording
   of `tree.paths`. A file of which it does not know the person is a problem, and so is a text or a line that names no
   recording that is there: every file is accounted for.
2. Texts and tables beside the recordings are among `tree.companion_names`, if `file_kinds` knows their suffix. Read
   them by `base.Text` (lines, each fault told once), `base.words_of` (a text for each recording) or
   `tree.origin.content`; a name in one means what `base.meant` finds.
3. What is more than one row a file, or has more than one person, is given as rows of a manifest: set `described.rows`
   to a `base.LayoutRows` of `manifest_reader.Rows` (offset and duration are of a segment, `extra` is JSON text,
   `files` the table of each row for messages) and the index of the file of each. `rows.names_people` says whether they
   name the people. `tables.TableRows` gathers them.
4. If it knows words and no people, say `Layout(..., names_people=False)`, or None if that depends on its tables, and
   set `described.names_people`: a speaker pattern, one subject, a subject per file or a manifest then goes with it.
5. Add it to `registry.ALL` and, with a line for `--help`, to `names.LAYOUTS`; make its tree in
   tests/kit/sources/layouts.py, describe it in docs/ingest.md, and run `python -m tests.kit.docs.clidocs`.
"""
