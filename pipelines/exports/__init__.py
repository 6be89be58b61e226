"""A finished model in the formats that others load: written, tried where there is no Sixfold, or not there at all."""
