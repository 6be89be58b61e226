"""Speech recognition: recordings and their transcripts to a recogniser."""
