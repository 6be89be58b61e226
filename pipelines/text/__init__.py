"""Text into numbers: subword pieces learnt or taken over, tokenizers as graphs, tokens kept on disk.

`subwords` learns pieces and cuts words into them, `tokenizers` makes the same record of those and of KerasHub's,
`cache` tokenises a whole split once, `chunks` hands texts out in parts of bounded size. `ids` says which pieces are no
text, `preset_pieces` cuts and joins texts by a KerasHub tokenizer, `search` writes texts a piece at a time by a
network.
"""
